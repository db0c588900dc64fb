"""A state folder and ports of one's own, so that tests and benchmarks run beside a demo; the processes that belong to it; and being killed."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

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


def killed(work: Callable[[], Any]) -> None:
    """`work` in a process of its own, which is killed in the middle of it."""
    process: BaseProcess = get_context("fork").Process(target=work)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def die(*_: Any, **__: Any) -> None:
    """What stands where a process is to be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
