"""Partitions FROM..TO through ingestion, checks and dbt, in a state folder of its own; prints what came of them as JSON. Run by test_grains.py."""

import json
import sys

from expectations.check import check_landing, check_marts
from flightdeck import ledger, stack, transform
from flightdeck.partitions import span
from flightdeck.warehouse import query
from ingestion.late import changed
from ingestion.load import load
from ingestion.publish import publish
from tests.bench_data import prepare

WANTED = ("raw.flights", "raw.weather", "raw.timetable", "marts.features", "marts.labels", "marts.planned_departures")


def main() -> None:
    told, sys.stdout = sys.stdout, sys.stderr
    prepare()
    try:
        keys = span(sys.argv[1])
        for key in keys:
            publish(check_landing(load(key, "timetable")))
            transform.plan(key)
        for key in keys:
            publish(check_landing(load(key)))
            transform.publish(check_marts(transform.build(key)))
        last = ledger.last("ingest", keys[-1])
        found = {
            "keys": keys,
            "published": ledger.published(),
            "quarantined": query("select count(*) as n from quarantine.rows")[0]["n"],
            "facts": last and last["facts"],
            "late": changed(keys[-1]),
            "rows": {table: query(f"select * from {table}") for table in WANTED},  # type: ignore[arg-type]
        }
    finally:
        stack.down()
    json.dump(found, told, default=str)


if __name__ == "__main__":
    main()
