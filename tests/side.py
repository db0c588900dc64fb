"""One side of a pull request's report, with the code of the current folder, in a state folder of its own; what came of it, as JSON.

Run by tests/report.py: `side.py data` is the base's, `side.py change` what a change makes of the base's data, `side.py learn` the rest of the loop.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from psycopg import sql

from expectations.check import check_landing, check_marts
from flightdeck import ledger, secrets, stack, transform
from flightdeck.lake import deliver
from flightdeck.launch import common
from flightdeck.partitions import span
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from ingestion.load import load
from ingestion.publish import publish
from ml.gate import gate
from ml.pipeline import train
from monitoring.decide import decide
from monitoring.measure import monitor

SERVICES = ["postgres", "mlflow", "world"]
# where tests/report.py puts dbt's manifest of the base
BEFORE = "before"
SUM = "select md5(string_agg(t::text, '' order by t::text)) as sum from (select {} from raw.{}) t"
NODES = ("model", "seed", "test")


def ingest(keys: list[str]) -> None:
    for key in keys:
        publish(check_landing(load(key, "timetable")))
        publish(check_landing(load(key)))


def build(keys: list[str], **among: tuple[str, ...]) -> None:
    for key in keys:
        transform.plan(key, **among)
        transform.publish(check_marts(transform.build(key, **among)))
        deliver(key)


def learn(keys: list[str]) -> None:
    for key in keys:
        for stage in (monitor, decide, train, gate):
            stage(key)
        sys.stderr.write(f"{key} done\n")


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((settings().home / "dbt" / "manifest.json").read_text())
    return found


def sums() -> dict[str, str]:
    """{dbt's selection of a source table: a checksum of its rows}, of the columns that dbt knows; which load brought a row is no part of it."""
    found = {}
    with connect() as connection:
        for source in manifest()["sources"].values():
            if source["schema"] == "raw":
                columns = sql.SQL(", ").join(map(sql.Identifier, sorted(name for name in source["columns"] if not name.startswith("_dlt"))))
                row = connection.execute(sql.SQL(SUM).format(columns, sql.Identifier(source["identifier"]))).fetchone()
                found[f"source:{source['source_name']}.{source['name']}+"] = row["sum"] if row else None
    return found


def change(keys: list[str], before: dict[str, Any]) -> None:
    """Take in the months with the changed code, then build what differs and its children, by dbt's state; the rest is the base's."""
    os.environ["DBT_STATE"] = str(settings().home / BEFORE)
    ingest(keys)
    transform.run("parse")
    others = [name for name, value in sums().items() if before["sources"].get(name) != value]
    among = ("state:modified+", *others)
    transform.prepare(among)
    build(keys, among=among)


def found(keys: list[str]) -> dict[str, object]:
    """What the months came to: verdicts and metrics, quarantined rows, dbt's checksum of each node, what it built, and where the marts are."""
    nodes = {node["name"]: node["checksum"]["checksum"] for node in manifest()["nodes"].values() if node["resource_type"] in NODES}
    rows = {key: {stage: (ledger.last(stage, key) or {}).get("facts") for stage in ("ingest", "plan", "transform", "train", "gate")} for key in keys}
    return {"lake": settings().lake, "models": nodes, "stages": rows, "sources": sums()}


def main() -> None:
    os.environ |= common()
    what, target, keys = sys.argv[1], Path(sys.argv[2]), span(sys.argv[3])
    stack.make_folders()
    settings().home.chmod(0o711)
    secrets.ensure()
    stack.start_manager()
    try:
        stack.start(["postgres"])
        stack.wait(["postgres"], 60)
        stack.make_databases()
        # dbt's relations are the base's, until its state says what is to be made anew
        left = {"airflow"} if what == "data" else {"airflow", "dbt"}
        stack.side_by_side("migrate", {name: command for name, command in stack.migrations().items() if name not in left})
        stack.start(SERVICES)
        stack.wait(SERVICES, 120)
        if what == "data":
            ledger.plan(keys)
            ingest(keys)
            build(keys)
        if what == "change":
            change(keys, json.loads(target.read_text()))
        if what != "data":
            learn(keys)
        target.write_text(json.dumps(found(keys), default=str))
    finally:
        stack.down()


if __name__ == "__main__":
    main()
