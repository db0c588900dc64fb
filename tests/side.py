"""One side of a pull request's report: the stages of some months with this code, in a state folder of its own; what came of them, as JSON.

Run by tests/report.py for the base and for the change; the code is that of the current folder.
"""

import json
import os
import sys
from pathlib import Path

from expectations.check import check_landing, check_marts
from flightdeck import ledger, secrets, stack, transform
from flightdeck.lake import deliver
from flightdeck.launch import common
from flightdeck.partitions import span
from flightdeck.settings import settings
from ingestion.load import load
from ingestion.publish import publish
from ml.gate import gate
from ml.pipeline import train
from monitoring.decide import decide
from monitoring.measure import monitor

SERVICES = ["postgres", "mlflow", "world"]


def month(key: str) -> None:
    publish(check_landing(load(key, "timetable")))
    transform.plan(key)
    publish(check_landing(load(key)))
    transform.publish(check_marts(transform.build(key)))
    deliver(key)
    for stage in (monitor, decide, train, gate):
        stage(key)


def found(keys: list[str]) -> dict[str, object]:
    """What the months came to: verdicts and metrics, quarantined rows, dbt's checksum of each model, and where the marts are."""
    manifest = json.loads((settings().home / "dbt" / "manifest.json").read_text())
    models = {node["name"]: node["checksum"]["checksum"] for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed", "test")}
    rows = {key: {stage: (ledger.last(stage, key) or {}).get("facts") for stage in ("ingest", "transform", "train", "gate")} for key in keys}
    return {"lake": settings().lake, "models": models, "stages": rows}


def main() -> None:
    os.environ |= common()
    target, keys = Path(sys.argv[1]), span(sys.argv[2])
    stack.make_folders()
    settings().home.chmod(0o711)
    secrets.ensure()
    stack.start_manager()
    try:
        stack.start(["postgres"])
        stack.wait(["postgres"], 60)
        stack.make_databases()
        stack.side_by_side("migrate", {name: command for name, command in stack.migrations().items() if name != "airflow"})
        stack.start(SERVICES)
        stack.wait(SERVICES, 120)
        ledger.plan(keys)
        for key in keys:
            month(key)
            sys.stderr.write(f"{key} done\n")
        target.write_text(json.dumps(found(keys), default=str))
    finally:
        stack.down()


if __name__ == "__main__":
    main()
