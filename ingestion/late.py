"""Late rows and corrections: partitions that a source has changed since they were read are reopened, and ingested anew."""

from datetime import timedelta

from flightdeck import ledger
from flightdeck.airflow_api import Airflow
from flightdeck.partitions import partition
from flightdeck.settings import settings
from flightdeck.warehouse import connect, lock
from ingestion.load import known_at, modules

STAGE = "ingest"


def reopen(key: str | None) -> list[str]:
    """Reopen what the sources have changed up to the closing of `key`, and start its ingestion; returns the partitions."""
    with connect() as connection, lock(connection, "reopen"):
        changes = changed(key)
        with connection.transaction():
            for other, (as_of, rows) in changes.items():
                ledger.reopen(connection, STAGE, other, {"as_of": as_of}, {"changed": rows, "found_by": key})
        # what a try before this one has recorded, and could not start, is among them
        found = ledger.unstarted(STAGE, key)
        if found:
            airflow = Airflow()
            for other in found:
                airflow.trigger(STAGE, other)
    return found


def changed(key: str | None) -> dict[str, tuple[str, dict[str, int]]]:
    """{partition: (time up to which its sources were asked, {source: rows recorded since it was read})}, but for `key` itself."""
    asking = partition(key)
    as_of, found = known_at(STAGE, asking), {}
    oldest = as_of - timedelta(days=settings().late_days)
    for other, read in ledger.read_until(STAGE).items():
        if other != asking.key and read < as_of and partition(other).closes >= oldest:
            rows = {source: module.changed(partition(other), read, as_of) for source, module in modules(STAGE).items()}
            if any(rows.values()):
                found[other] = (as_of.isoformat(), {source: count for source, count in rows.items() if count})
    return found
