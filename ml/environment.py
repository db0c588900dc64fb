"""What a model is trained with: a few versions that its bytes can hang on, and the bill of material of all that is installed (CycloneDX)."""

import hashlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from flightdeck.settings import ROOT, settings

# the tags of a run that say what it was trained with begin so
TAG = "environment."
BILL = "sbom.cdx.json"
# of what is installed, what computes or writes a model's bytes
NAMED = ["lightgbm", "numpy", "pyarrow", "scikit-learn"]
LOCK = "requirements.lock"


def versions() -> dict[str, str]:
    """{name: version} of Python and what a model's bytes can hang on; of the lock, its sha256."""
    found = {"python": platform.python_version(), **{name: metadata.version(name) for name in NAMED}}
    if (ROOT / LOCK).exists():
        found[LOCK] = hashlib.sha256((ROOT / LOCK).read_bytes()).hexdigest()
    return found


def bill() -> str:
    """The bill of material of this environment, as CycloneDX 1.6 in JSON: the same text for the same packages.

    It takes a second, so it is kept in the state folder under a checksum of the names and versions that are installed.
    """
    names = sorted({found.name for place in sys.path for found in Path(place).glob("*.dist-info")})
    known = hashlib.sha256("\n".join([platform.python_version(), *names]).encode()).hexdigest()[:16]
    kept = settings().home / "sbom" / f"{known}.json"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True, mode=0o700)
        # renamed into place: two trainings may begin at once
        made = kept.with_suffix(f".{os.getpid()}")
        made.write_text(_made(known))
        made.rename(kept)
    return kept.read_text()


def _made(known: str) -> str:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    root = Component(name="flightdeck", type=ComponentType.APPLICATION, bom_ref="flightdeck")
    python = Component(name=platform.python_implementation(), type=ComponentType.PLATFORM, bom_ref="python", version=platform.python_version())
    installed = {_plain(found.name): found for found in metadata.distributions() if _plain(found.name) != "flightdeck"}
    parts = {name: _component(name, found) for name, found in installed.items()}
    described = Bom(components=[python, *parts.values()], serial_number=uuid5(NAMESPACE_URL, f"urn:flightdeck:{known}"))
    described.metadata.component = root
    described.register_dependency(root, [python, *parts.values()])
    for name, found in installed.items():
        described.register_dependency(parts[name], [parts[other] for other in _needs(found) if other in parts])
    content: dict[str, Any] = json.loads(JsonV1Dot6(described).output_as_string())
    # when it was written says nothing of the environment, and would make each one another
    del content["metadata"]["timestamp"]
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _component(name: str, found: metadata.Distribution) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    address = PackageURL("pypi", None, name, found.version)
    # the older field holds whole texts as well
    told = next((found.metadata[field] for field in ("License-Expression", "License") if field in found.metadata), "")
    licenses = [LicenseFactory().make_from_string(told)] if told and "\n" not in told and len(told) < 100 else []
    return Component(name=name, type=ComponentType.LIBRARY, bom_ref=str(address), version=found.version, purl=address, licenses=licenses)


def _needs(found: metadata.Distribution) -> list[str]:
    """The packages that this one asks for here, without its extras."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in found.requires or []]
    return [_plain(each.name) for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
