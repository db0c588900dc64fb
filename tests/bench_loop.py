"""What `make bench` compares the orchestration with: the stages of the same months, called one after the other in one warm process.

Run by tests/bench.py in a state folder of its own, whose stack is up; prints, as JSON, each month's seconds and the sha256 of its model.
"""

import ast
import gc
import json
import os
import sys
import time
from importlib import import_module

from expectations.check import check_landing, check_marts
from flightdeck import ledger, transform
from flightdeck.lake import deliver
from flightdeck.partitions import span
from flightdeck.predictions import logged
from flightdeck.settings import ROOT
from ingestion.load import load
from ingestion.publish import publish
from ml.gate import gate
from ml.pipeline import train
from monitoring.decide import decide
from monitoring.measure import compare, monitor
from serving.deploy import deploy
from world.requests import send

# it imports what a task should find imported when the scheduler forks
PRELOAD = ROOT / "infra" / "airflow" / "airflow_local_settings.py"


def imported() -> list[str]:
    """Modules that the scheduler has imported before it forks a task."""
    nodes = ast.walk(ast.parse(PRELOAD.read_text()))
    return [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]


def month(key: str) -> float:
    """Every stage of a month, in the order of the loop; returns the seconds."""
    begun = time.perf_counter()
    publish(check_landing(load(key, "timetable")))
    transform.plan(key)
    ledger.record("requests", key, logged(send))
    publish(check_landing(load(key)))
    transform.publish(check_marts(transform.build(key)))
    deliver(key)
    for stage in (compare, monitor, decide, train, gate, deploy):
        stage(key)
    return time.perf_counter() - begun


def model(key: str) -> str | None:
    trained = ledger.last("train", key)
    release = trained["outputs"].get("release") if trained else None
    return release["sha256"] if release else None


def main() -> None:
    # the tools tell of what they do on the standard output, which here is for the figures
    told, sys.stdout = sys.stdout, sys.stderr
    for name in imported():
        import_module(name)
    gc.collect()
    gc.freeze()
    keys = span(sys.argv[1])
    ledger.plan(keys)
    seconds = {key: month(key) for key in keys}
    told.write(json.dumps({"seconds": seconds, "models": {key: model(key) for key in keys}}))
    told.flush()
    # without waiting for what the tools have left running
    os._exit(0)


if __name__ == "__main__":
    main()
