"""`make bench`: the data half stage by stage, then the demo, each on a fresh state of its own; writes bench.json."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.sandbox import environment

MONTHS = "2013-01..2013-03"
FLIGHTDECK = [sys.executable, "-m", "flightdeck.cli"]


def _proportional_bytes(home: str) -> int:
    """Memory of the process manager's whole tree and of the commands, shared pages counted once.

    By parentage: some tools overwrite the environment by which a process could be told.
    """
    pid_file = Path(home) / "run" / "supervisord.pid"
    roots = [os.getpid(), *([int(pid_file.read_text())] if pid_file.exists() else [])]
    total = 0
    for root in roots:
        with suppress(psutil.Error):
            process = psutil.Process(root)
            for each in [process, *process.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += each.memory_full_info().pss
    return total


class Peak(threading.Thread):
    """Samples every second until it is told to stop."""

    def __init__(self, home: str) -> None:
        super().__init__(daemon=True)
        self.home, self.most, self.over = home, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(1):
            self.most = max(self.most, _proportional_bytes(self.home))


@contextmanager
def fresh() -> Iterator[str]:
    """A state folder of its own, and ports; whatever was started in it is stopped at the end."""
    home = tempfile.mkdtemp(prefix="fd-bench-")
    Path(home).chmod(0o711)
    os.environ |= environment(home)
    try:
        yield home
    finally:
        subprocess.run([*FLIGHTDECK, "down"], check=True)
        shutil.rmtree(home)


def data_half() -> dict[str, Any]:
    """The figures of tests/bench_data.py, in a process of its own with the environment that every process of the platform has."""
    from flightdeck.launch import common

    with fresh() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench_data"], check=True, env=os.environ | common() | {"FLIGHTDECK_HOME": home}, stdout=subprocess.PIPE
        )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def demo() -> dict[str, Any]:
    """The stack's start and three months through Airflow, with the memory of all processes."""
    with fresh() as home:
        peak = Peak(home)
        peak.start()
        begun = time.monotonic()
        subprocess.run([*FLIGHTDECK, "up"], check=True)
        up = time.monotonic() - begun
        subprocess.run([*FLIGHTDECK, "replay", MONTHS], check=True)
        demo = time.monotonic() - begun
        status = json.loads(subprocess.run([*FLIGHTDECK, "status", "--json"], check=True, capture_output=True).stdout)
        peak.over.set()
    return {
        "up_seconds": {"value": round(up, 1), "unit": "s", "what": "first start of the whole stack, until all of it is healthy"},
        "demo_seconds": {"value": round(demo, 1), "unit": "s", "what": f"stack and {MONTHS} through Airflow, docs built; the environment is there already"},
        "demo_peak_gb": {
            "value": round(peak.most / 1e9, 2),
            "unit": "GB",
            "what": "most memory of all processes together (proportional set size, each second)",
        },
        "month_seconds": {
            "value": median(partition["seconds"] for partition in status["partitions"]),
            "unit": "s",
            "what": "sum of a month's stages, without waiting; median of the months",
        },
    }


def main() -> None:
    figures = data_half() | demo()
    Path("bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
