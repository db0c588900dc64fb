"""Which code is running: the git commit, or what the settings say (images have no git)."""

import hashlib
import subprocess
from functools import lru_cache

from flightdeck.settings import ROOT, settings


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout.strip()


@lru_cache
def code_version() -> str:
    """The short commit, with `+changes` when tracked files differ from it; outside a git checkout, `files-` and what the files come to."""
    if settings().code:
        return settings().code
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return f"files-{_contents()}"


def _contents() -> str:
    """A checksum over the names and contents of the code's files."""
    found = hashlib.sha256()
    for path in sorted(path for kind in ("*.py", "*.sql", "*.yml", "*.yaml") for path in ROOT.glob(f"[!.]*/**/{kind}")):
        found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]
