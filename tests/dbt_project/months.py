"""A month's way from its plan to the marts, and small partitions made of a real one: what tests of the marts and of serving share."""

from collections.abc import Iterator
from contextlib import contextmanager

from expectations.check import check_marts
from flightdeck import ledger
from flightdeck.transform import build, plan, publish
from flightdeck.warehouse import Row, connect, query
from tests.ingestion.months import ingested

# a real month, and the one that its history is of
REAL, BEFORE = "2013-11", "2013-10"
PLAN = """
insert into raw.timetable (partition_key, entity_id, year, month, day, sched_dep_time, sched_arr_time, carrier, flight, tailnum, origin, dest, distance, hour,
    minute, time_hour, published_at, _dlt_load_id)
select partition_key, entity_id, year, month, day, sched_dep_time, sched_arr_time, carrier, flight, tailnum, origin, dest, distance, hour, minute, time_hour,
    (make_date(year, month, 1) - interval '14 days') at time zone 'UTC', 'test'
from raw.flights where partition_key = %s on conflict do nothing"""
ORDER = {
    "intermediate.int_flights_joined": "entity_id", "marts.features": "entity_id", "marts.labels": "entity_id", "marts.planned_departures": "entity_id",
    "marts.route_history": "origin, dest",
}  # fmt: skip


def planned(key: str) -> None:
    """Publish the plan of the month's flights, those that were cancelled included, and build what is known from it."""
    with connect() as connection:
        connection.execute(PLAN, (key,))
    plan(key)


def transform(key: str) -> Row:
    """Build, check and publish a partition in this process; returns the ledger's row."""
    publish(check_marts(build(key)))
    row = ledger.last("transform", key)
    assert row is not None
    return row


def transformed(key: str) -> Row:
    """A real month through all of that, unless it has been before."""
    if key not in ledger.published():
        ingested(key)
        planned(key)
        transform(key)
    row = ledger.last("transform", key)
    assert row is not None
    return row


def marts(key: str) -> dict[str, list[Row]]:
    """All that is built of a partition, in order."""
    return {name: query(f"select * from {name} where partition_key = %s order by {by}", key) for name, by in ORDER.items()}  # type: ignore[arg-type]


@contextmanager
def real_months() -> Iterator[Row]:
    """Two real months, transformed; the ledger's row of the later one. Taken back, or each earlier month would build them anew."""
    _withdraw()
    transformed(BEFORE)
    yield transformed(REAL)
    _withdraw()


def _withdraw() -> None:
    # who was here before may have left the later one built on nothing
    for key in {BEFORE, REAL} & set(ledger.published()):
        ledger.begin("transform", key).record("withdrawn")


@contextmanager
def five_flights(key: str, days: int) -> Iterator[str]:
    """A partition of five flights of the real month, that many days later, planned, built and published; taken back at the end.

    Its ingestion is `done` and not `published`, or raw's reference data would be taken for this month's from then on.
    """
    year, month = key.split("-")
    with connect() as connection:
        connection.execute(
            f"create temp table few as select * from raw.flights where partition_key = '{REAL}' and arr_delay is not null order by entity_id limit 5"
        )
        connection.execute(
            f"update few set partition_key = '{key}', entity_id = '{key}/' || entity_id, year = {year}, month = {month},"
            f" time_hour = time_hour + interval '{days} days'"
        )
        connection.execute("insert into raw.flights select * from few")
        try:
            ledger.begin("ingest", key).record("done")
            planned(key)
            transform(key)
            yield key
        finally:
            if key in ledger.published():
                ledger.begin("transform", key).record("withdrawn")
            for name in ("raw.flights", "raw.timetable", *ORDER):
                connection.execute(f"delete from {name} where partition_key = '{key}'".encode())
