"""The published timetable → landing.timetable: a month's planned departures, in the newest file of it at `as_of`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dlt
import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.contract import Reading, SourceError, hints
from ingestion.files import dropped, of_partition, read


def resources(reading: Reading) -> list[Any]:
    key, date, folder = f"{reading.partition.start:%Y-%m}", reading.as_of.astimezone(UTC).date().isoformat(), dropped() / "timetables"
    published = sorted(path for path in folder.glob(f"????-??-??/{key}.csv") if path.parent.name <= date)
    if not published:
        raise SourceError(f"timetable of {key} was not published by {date}: {folder} has no {key}.csv in a folder of that date or before")

    @dlt.resource(**hints(contracts()["timetable"]))
    def timetable() -> Iterator[pa.Table]:
        yield of_partition(read(published[-1], "timetable", "timetable", reading), reading)

    return [timetable]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Nothing: what is published once the month has begun is no plan for it."""
    return 0
