"""Processes that outlived the service that started them: a killed server's workers, a killed scheduler's tasks.

Some tools give their workers a session or a group of their own, and some overwrite their environment: so a process counts as ours when it
is in the process manager's session, or when it carries the launcher's mark; and as an orphan when the manager is not among its parents.
"""

import os

import psutil

from flightdeck.settings import settings

MARK = "FLIGHTDECK_SERVICE"


def _ours(process: psutil.Process, session: int) -> bool:
    try:
        if os.getsid(process.pid) == session:
            return True
        environment = process.environ()
        return MARK in environment and environment.get("FLIGHTDECK_HOME") == str(settings().home)
    except (psutil.Error, OSError):
        return False


def end() -> list[int]:
    """Kill what is left of services that are gone; returns the ids of the killed. Nothing when no stack has run here yet."""
    pid_file = settings().home / "run" / "supervisord.pid"
    if not pid_file.exists():
        return []
    manager = int(pid_file.read_text())
    kept = {manager, os.getpid(), os.getppid()}
    if _is_manager(manager):
        kept |= {process.pid for process in psutil.Process(manager).children(recursive=True)}
    left = [process for process in psutil.process_iter() if process.pid not in kept and _ours(process, manager)]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)
    return [process.pid for process in left]


def _is_manager(pid: int) -> bool:
    """Whether the process manager of this state folder still runs under this id, which another process may have by now."""
    try:
        return str(settings().home) == psutil.Process(pid).environ().get("FLIGHTDECK_HOME") and "supervisord" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
