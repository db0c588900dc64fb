"""`make bench`: the data half stage by stage, the year in one process, the year through Airflow, serving; each on a fresh state; writes bench.json."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.sandbox import environment

MONTHS = "2013-01..2013-12"
# {month: sha256 of its model}, of the state folder in the environment
MODELS = f"""
import json
from flightdeck.partitions import span
from tests.bench_loop import model
print(json.dumps({{key: model(key) for key in span("{MONTHS}")}}))
"""
FLIGHTDECK = [sys.executable, "-m", "flightdeck.cli"]


def _proportional_bytes(home: str) -> int:
    """Memory of the process manager's whole tree and of the commands, shared pages counted once.

    By parentage: some tools overwrite the environment by which a process could be told.
    """
    pid_file = Path(home) / "run" / "supervisord.pid"
    return proportional_bytes([os.getpid(), *([int(pid_file.read_text())] if pid_file.exists() else [])])


def proportional_bytes(roots: Iterable[int]) -> int:
    """Memory of these processes and all below them, shared pages counted once."""
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


def measured(home: str, module: str, *arguments: str) -> Any:
    """What a module prints, as JSON, in a process of its own with the environment that every process of the platform has."""
    from flightdeck.launch import common

    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, env=os.environ | common() | {"FLIGHTDECK_HOME": home}, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def data_half() -> dict[str, Any]:
    """The figures of tests/bench_data.py."""
    with fresh() as home:
        figures: dict[str, Any] = measured(home, "tests.bench_data")
    return figures


def in_process() -> tuple[dict[str, float], dict[str, str]]:
    """({month: seconds}, {month: sha256 of its model}) of all stages in one warm process; only the services of the stack are used."""
    with fresh() as home:
        subprocess.run([*FLIGHTDECK, "up"], check=True, stdout=sys.stderr)
        found = measured(home, "tests.bench_loop", MONTHS)
    return found["seconds"], found["models"]


def demo() -> dict[str, Any]:
    """The stack's start and the year through Airflow, with the memory of all processes; beside the same stages in one process."""
    alone, models = in_process()
    with fresh() as home:
        peak = Peak(home)
        peak.start()
        begun = time.monotonic()
        subprocess.run([*FLIGHTDECK, "up"], check=True)
        up = time.monotonic() - begun
        subprocess.run([*FLIGHTDECK, "replay", MONTHS], check=True)
        whole = time.monotonic() - begun
        status = json.loads(subprocess.run([*FLIGHTDECK, "status", "--json"], check=True, capture_output=True).stdout)
        others = subprocess.run([sys.executable, "-c", MODELS], check=True, capture_output=True, env=os.environ | {"FLIGHTDECK_HOME": home}).stdout
        peak.over.set()
        trust = measured(home, "tests.bench_trust")
        serving = measured(home, "tests.bench_serving")
        changing = soak(home)
        reactions = drills()
    if json.loads(others) != models:
        raise AssertionError(f"the same months gave other models: {models} in one process, {others.decode()} under Airflow")
    months = len(status["partitions"])
    return {name: figure(*found) for name, found in (trust | serving | changing | reactions).items()} | {
        "up_seconds": figure(up, "s", "first start of the whole stack, until all of it is healthy"),
        "demo_seconds": figure(whole, "s", f"stack and {MONTHS} through Airflow, docs built; the environment is there already"),
        "demo_peak_gb": figure(peak.most / 1e9, "GB", "most memory of all processes together (proportional set size, each second)"),
        "month_seconds": figure((whole - up) / months, "s", "a month of the demo, without the stack's start"),
        "month_alone_seconds": figure(sum(alone.values()) / months, "s", "a month, all stages one after the other in one warm process; mean"),
        "orchestration_tax": figure((whole - up) / sum(alone.values()), "ratio", "all months through Airflow, docs built, over the same stages in one process"),
    }


def soak(home: str) -> dict[str, Any]:
    """Ten minutes of requests while versions change and workers are killed; raises CalledProcessError where a promise does not hold."""
    found = measured(home, "tests.soak")
    return {f"soak_{name}": (found[name], unit, f"{what} (tests/soak.py)") for name, unit, what in (
        ("rate", "1/s", "answers a second for ten minutes, with a reload each ten seconds, a roll back and a killed worker each minute"),
        ("p99_milliseconds", "ms", "99th percentile of the time to an answer meanwhile"),
        ("lost", "ids", "answered and not in the log"),
        ("of_a_version_that_did_not_serve", "answers", "of a version that did not serve"),
        ("broken_otherwise", "connections", "broken, and not by a kill"),
    )}  # fmt: skip


def drills() -> dict[str, Any]:
    """What each drill took until the platform had answered it by itself."""
    from flightdeck.drills import DRILLS

    found = {}
    for name in DRILLS:
        said = subprocess.run([*FLIGHTDECK, "drill", name], check=True, capture_output=True, text=True).stdout
        seconds = re.search(rf"{name}: the platform reacted after ([\d.]+) s", said)
        assert seconds, said
        found[f"drill_{name.replace('-', '_')}_seconds"] = (float(seconds[1]), "s", f"flightdeck drill {name}: until the platform had reacted")
    return found


def figure(value: float, unit: str, what: str) -> dict[str, Any]:
    return {"value": round(value, 3), "unit": unit, "what": what}


def main() -> None:
    figures = data_half() | demo()
    Path("bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
