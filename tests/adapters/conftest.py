"""What the adapters' tests share: an environment for each that needs its own, made once from its lock, and kept for the next run.

`make adapters` runs them; `make test` leaves them out. The core imports none of them.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flightdeck.settings import ROOT
from tests.ml.conftest import mlflow, published_months  # noqa: F401

# outside of the state folder, which tests throw away
KEPT = Path(os.environ.get("FLIGHTDECK_ADAPTERS", ROOT / ".adapters"))


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    """The Python of an adapter's own environment, by the path of its lock in the repository; made anew when the lock has changed."""

    def python(lock: str) -> Path:
        path = ROOT / lock
        folder = KEPT / f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        uv = [str(Path(sys.executable).with_name("uv"))]
        if not (folder / ".done").exists():
            subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
            install = ["pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--require-hashes", "-r", str(path)]
            subprocess.run([*uv, *install], check=True, env=os.environ | {"UV_SYSTEM_CERTS": "true"})
            (folder / ".done").touch()
        return folder / "bin/python"

    return python
