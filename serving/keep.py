"""What a service needs to answer without the platform: models by their checksum, the last good release, reference data. On local disk, as data.

Whatever is read back is checked like what comes from the registry; what does not hold is as if it were not there.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from flightdeck import registry
from serving.reference import Reference

log = logging.getLogger("flightdeck.serving")
# models that are kept beside the newest: what a roll back goes to
MODELS = 5


class Keep:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model(self, release: dict[str, Any]) -> bytes:
        """The model file of a release: the one that is kept, else the registry's, which is kept from then on. Raises RegistryError."""
        name = f"models/{release['sha256']}"
        path, kept = self.folder / name, self._read(name, bytes)
        if kept is not None:
            if hashlib.sha256(kept).hexdigest() == release["sha256"]:
                with suppress(OSError):
                    path.touch()
                return bytes(kept)
            log.warning("the kept model %s is not what it was; it is fetched anew", path.name)
        content = registry.model(release)
        if self._write(path, content):
            self._forget(path.parent)
        return content

    def _forget(self, models: Path) -> None:
        """All but the newest models, whoever else does the same now."""
        ages = []
        for each in models.iterdir():
            with suppress(FileNotFoundError):
                ages.append((each.stat().st_mtime, each))
        for _, older in sorted(ages)[: -MODELS - 1]:
            older.unlink(missing_ok=True)

    def release(self) -> dict[str, Any] | None:
        """The release that served last."""
        found: dict[str, Any] | None = self._read("release.json", msgspec.json.Decoder(dict[str, Any]).decode)
        return found

    def remember(self, release: dict[str, Any]) -> None:
        self._write(self.folder / "release.json", msgspec.json.encode(release))

    def reference(self) -> Reference | None:
        found: Reference | None = self._read("reference.msgpack", Reference.unpacked)
        return found

    def remember_reference(self, now: Reference) -> None:
        self._write(self.folder / "reference.msgpack", now.packed())

    def _read(self, name: str, decode: Callable[[bytes], Any]) -> Any:
        path = self.folder / name
        try:
            return decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, ValueError, OSError) as error:
            log.warning("%s cannot be used: %s", path, error)
            return None

    def _write(self, path: Path, content: bytes) -> bool:
        """All of it or nothing, and whether it was written; replicas may share the folder. A disk that takes nothing costs what it is for, and no answer."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_name(f".{uuid4().hex[:12]}")
            fresh.write_bytes(content)
            fresh.rename(path)
        except OSError as error:
            log.warning("%s cannot be kept: %s", path, error)
            return False
        return True
