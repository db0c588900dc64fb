"""An environment for each tool that needs its own, made once from its lock, and kept for the next run."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from flightdeck.settings import ROOT

# outside of the state folder, which tests throw away
KEPT = Path(os.environ.get("FLIGHTDECK_ADAPTERS", ROOT / ".adapters"))


def python(lock: str) -> Path:
    """The Python of the environment, by the path of its lock in the repository; made anew when the lock has changed."""
    path = ROOT / lock
    folder = KEPT / f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    uv = [str(Path(sys.executable).with_name("uv"))]
    if not (folder / ".done").exists():
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = ["pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--require-hashes", "-r", str(path)]
        subprocess.run([*uv, *install], check=True, env=os.environ | {"UV_SYSTEM_CERTS": "true"})
        (folder / ".done").touch()
    return folder / "bin/python"
