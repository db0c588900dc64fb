"""The airlines' timetables: a month's planned departures, published 14 days before the month begins, as a CSV file in a dated folder."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from flightdeck.settings import settings
from world.data import month as flights_of

LEAD = timedelta(days=14)
YEAR = 2013
COLUMNS = [
    "year", "month", "day", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum", "origin", "dest", "distance", "hour", "minute", "time_hour",
]  # fmt: skip
ORDER = [(name, "ascending") for name in ("time_hour", "carrier", "flight")]
# of strings that hold no comma or quote; a value that does is an error of pyarrow, not a broken file
PLAIN = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")


def folder() -> Path:
    """Where the dated folders are."""
    return settings().home / "world" / "files" / "timetables"


def publish() -> None:
    """Lay each month's timetable that is not there yet, as a whole or not at all."""
    for month in range(1, 13):
        published = date(YEAR, month, 1) - LEAD
        target = folder() / published.isoformat()
        if not target.exists():
            scratch = target.with_name(f".{target.name}")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            pa.csv.write_csv(_planned(month, published), scratch / f"{YEAR}-{month:02}.csv", PLAIN)
            scratch.rename(target)


def _planned(month: int, published: date) -> pa.Table:
    table = flights_of(month).select(COLUMNS).sort_by(ORDER)
    times = pc.strftime(table["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(COLUMNS.index("time_hour"), "time_hour", times)
    return table.append_column("published_at", pa.array([f"{published}T00:00:00Z"] * len(table)))
