"""A state folder and ports of one's own, so that tests and benchmarks run beside a demo; and the processes that belong to it."""

import os
import socket
from collections.abc import Iterator

import psutil


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: str) -> dict[str, str]:
    """The settings for a stack in the state folder `home`, on ports that are free now."""
    ports = {f"FLIGHTDECK_PORT_{name}": str(_free_port()) for name in ("AIRFLOW", "MLFLOW", "SERVING", "REPORTS", "WORLD", "POSTGRES")}
    return {"FLIGHTDECK_HOME": home} | ports


def processes(home: str) -> Iterator[psutil.Process]:
    """All processes that were started with this state folder, the caller itself apart."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FLIGHTDECK_HOME") == home:
                yield process
        except psutil.Error:
            continue
