"""A state folder and ports of one's own, so that tests and benchmarks run beside a demo; the processes that belong to it; and being killed."""

import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import psutil


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports() -> Iterator[int]:
    """Ports that are free now, below those that Linux gives to connections: by the time a service starts, a connection may have taken one of them."""
    return filter(_is_free, random.sample(range(20_000, 32_000), 500))


def environment(home: str) -> dict[str, str]:
    """The settings for a stack in the state folder `home`, on ports that are free now."""
    names = ("AIRFLOW", "MLFLOW", "SERVING", "REPORTS", "WORLD", "POSTGRES")
    return {"FLIGHTDECK_HOME": home} | {f"FLIGHTDECK_PORT_{name}": str(port) for name, port in zip(names, free_ports(), strict=False)}


def processes(home: str) -> Iterator[psutil.Process]:
    """All processes that were started with this state folder, the caller itself apart."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FLIGHTDECK_HOME") == home:
                yield process
        except psutil.Error:
            continue


def workers(home: str) -> Iterator[psutil.Process]:
    """Those that answer requests to the service of this state folder."""
    return (process for process in processes(home) if "_bentoml_impl.worker.service" in process.cmdline())


def killed(work: Callable[[], Any]) -> None:
    """`work` in a process of its own, which is killed in the middle of it."""
    process: BaseProcess = get_context("fork").Process(target=work)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def die(*_: Any, **__: Any) -> None:
    """What stands where a process is to be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
