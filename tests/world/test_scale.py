"""A year so many times as large: new keys, the same distributions, and the sources agree."""

import csv
from collections import Counter
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from flightdeck.settings import settings
from world import data, database, files, timetable

TIMES = 4
DRAWN = ["month", "day", "carrier", "origin", "dest", "hour", "minute", "dep_delay", "arr_delay", "air_time", "distance"]


@pytest.fixture
def enlarged(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The setting, and files of the test's own."""
    own = settings().model_copy(update={"home": tmp_path, "world_scale": TIMES})
    for module in (data, files, timetable):
        monkeypatch.setattr(module, "settings", lambda: own)
    return tmp_path / "world/files"


def counted(table: pa.Table, names: list[str]) -> Counter[tuple[object, ...]]:
    return Counter(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_every_flight_is_there_so_many_times_under_keys_of_its_own(enlarged: Path) -> None:
    month = data.month(2)
    once = month.slice(0, len(month) // TIMES)
    assert len(month) == TIMES * 24_951
    assert counted(month, DRAWN) == Counter({row: TIMES * times for row, times in counted(once, DRAWN).items()})
    assert max(counted(month, ["time_hour", "carrier", "flight"]).values()) == 1
    assert max(month["flight"].to_pylist()) <= 9999
    # an aircraft flies its own legs, no more a day than before
    legs = counted(month, ["tailnum", "day"])
    assert max(times for (tail, _), times in legs.items() if tail) == max(times for (tail, _), times in counted(once, ["tailnum", "day"]).items() if tail)


def test_the_sources_agree(enlarged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.drop()
    timetable.publish()
    planned = (enlarged / "timetables/2013-01-18/2013-02.csv").read_text().splitlines()
    assert len(planned) - 1 == TIMES * 24_951
    with (enlarged / "2013-01-01/planes.csv").open(newline="") as file:
        planes = {row["tailnum"]: row for row in csv.DictReader(file)}
    assert len(planes) == TIMES * 3322
    assert planes["N10156-3"] == planes["N10156"] | {"tailnum": "N10156-3"}
    flown = {tail for tail in data.month(2)["tailnum"].to_pylist() if tail}
    known = {tail for tail in flown if tail.split("-")[0] in planes}
    assert known <= set(planes)
    assert 0 < len(flown - known) < len(known)
    # as the operations database is filled, in a place of the test's own
    with psycopg.connect(settings().database_url("world")) as connection:
        connection.execute("create temp table flights (like public.flights)")
        connection.execute("alter table flights alter recorded_at drop not null")
        assert database.fill(connection) == TIMES * 336_776
        keys = "select count(*), count(distinct (time_hour, carrier, flight)), count(*) filter (where recorded_at is null) from flights"
        assert connection.execute(keys).fetchone() == (TIMES * 336_776, TIMES * 336_776, 0)
