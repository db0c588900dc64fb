"""Which code is running: the git commit, or what the settings say (images have no git)."""

import subprocess
from functools import lru_cache

from flightdeck.settings import ROOT, settings


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout.strip()


@lru_cache
def code_version() -> str:
    """The short commit, with `+changes` when tracked files differ from it; `unknown` outside a git checkout."""
    if settings().code:
        return settings().code
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
