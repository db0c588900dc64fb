"""What this machine lacks, before anything is started: each finding with its cure."""

import ctypes
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flightdeck import stack
from flightdeck.launch import postgres_bin
from flightdeck.settings import settings

LONGEST_SOCKET_PATH = 100  # Linux allows 107 bytes, and the process manager adds a suffix
MEMORY_GB, DISK_GB = 6, 5


@dataclass(frozen=True)
class Finding:
    what: str
    ok: bool
    cure: str = ""


def findings() -> list[Finding]:
    return [_python(), _memory(), _disk(), _path(), _openmp(), _git(), *_postgres_user(), *_ports()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        f"Python {version}", (3, 11) <= sys.version_info[:2] <= (3, 13), "needs 3.11 to 3.13: `make clean`, then `make demo PYTHON=/path/to/python3.12`"
    )


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    free = {line.split(":")[0]: int(line.split()[1]) / 1e6 for line in lines}.get("MemAvailable", float("inf"))
    return Finding(f"{free:.1f} GB of memory free", stack.running() or free >= MEMORY_GB, f"needs {MEMORY_GB} GB: stop something else")


def _disk() -> Finding:
    place = next(path for path in (settings().home, *settings().home.parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    return Finding(f"{free:.1f} GB of disk free at {place}", free >= DISK_GB, f"needs {DISK_GB} GB: free some, or set FLIGHTDECK_HOME to another disk")


def _path() -> Finding:
    path = settings().home / "run" / "supervisor.sock"
    long = len(os.fsencode(path))
    return Finding(
        f"state folder {settings().home}",
        long <= LONGEST_SOCKET_PATH,
        f"its socket's path has {long} bytes, at most {LONGEST_SOCKET_PATH} work: set FLIGHTDECK_HOME to a shorter one",
    )


def _openmp() -> Finding:
    try:
        ctypes.CDLL("libgomp.so.1" if sys.platform == "linux" else "libomp.dylib")
        return Finding("OpenMP library", True)
    except OSError:
        return Finding("OpenMP library", False, "LightGBM needs it: `apt install libgomp1`, `dnf install libgomp`, or `brew install libomp`")


def _git() -> Finding:
    return Finding("git", bool(shutil.which("git")), "the ledger records the commit: install git, or set FLIGHTDECK_CODE")


def _postgres_user() -> Iterator[Finding]:
    """PostgreSQL refuses root: there it runs as another user, who must be able to reach its programs and its data."""
    if os.geteuid() != 0:
        return
    yield Finding("useradd", bool(shutil.which("useradd")), "as root, PostgreSQL needs a user of its own: install useradd, or run as an ordinary user")
    for place in (postgres_bin(), settings().home):
        closed = [path for path in place.parents if path.exists() and not path.stat().st_mode & 0o001]
        yield Finding(
            f"others may enter {place.parent}",
            not closed,
            f"PostgreSQL's user cannot pass {', '.join(map(str, closed))}: clone elsewhere, or run as an ordinary user",
        )


def _ports() -> Iterator[Finding]:
    if stack.running():
        return
    for name, field in sorted((name.removeprefix("port_"), name) for name in type(settings()).model_fields if name.startswith("port_")):
        port = getattr(settings(), field)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings().bind, port))
                yield Finding(f"port {port} for {name}", True)
            except OSError:
                yield Finding(f"port {port} for {name}", False, f"it is taken: stop what uses it, or set FLIGHTDECK_{field.upper()} to another")
