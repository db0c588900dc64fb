"""Timetables: each planned departure of the month, published before it begins, whole and once."""

import csv
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flightdeck.settings import settings
from world import timetable
from world.data import flights

HEADER = (
    "year,month,day,sched_dep_time,sched_arr_time,carrier,flight,tailnum,origin,dest,distance,hour,minute,time_hour,published_at"
)  # fmt: skip


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of timetables of the test's own."""
    monkeypatch.setattr(timetable, "settings", lambda: settings().model_copy(update={"home": tmp_path}))
    timetable.publish()
    return tmp_path / "world" / "files" / "timetables"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_month_is_published_14_days_before_it_begins(published: Path) -> None:
    found = {path.stem: path.parent.name for path in published.glob("*/*")}
    assert len(found) == 12
    assert found == {f"2013-{month:02}": (date(2013, month, 1) - timedelta(days=14)).isoformat() for month in range(1, 13)}
    assert found["2013-01"] == "2012-12-18"
    for path in published.glob("*/*.csv"):
        assert path.read_text().splitlines()[0] == HEADER
        assert {row["published_at"] for row in _rows(path)} == {f"{path.parent.name}T00:00:00Z"}


def test_it_holds_each_planned_departure_once_flown_or_not(published: Path) -> None:
    rows = _rows(published / "2013-01-18" / "2013-02.csv")
    assert len(rows) == 24_951
    planned = [row for row in flights().to_pylist() if row["month"] == 2]
    names = [name for name in HEADER.split(",") if name not in ("time_hour", "published_at")]
    expected = Counter((*("" if row[name] is None else str(row[name]) for name in names), row["time_hour"].replace(tzinfo=UTC)) for row in planned)
    assert Counter((*(row[name] for name in names), datetime.fromisoformat(row["time_hour"])) for row in rows) == expected
    assert any(row["dep_time"] is None for row in planned)
    assert any(row["tailnum"] == "" for row in rows)


def test_it_is_in_order_of_time_carrier_and_flight(published: Path) -> None:
    for path in published.glob("*/*.csv"):
        keys = [(row["time_hour"], row["carrier"], int(row["flight"])) for row in _rows(path)]
        assert len(keys) > 20_000
        assert keys == sorted(keys)
        assert keys[0][0].endswith(":00:00Z")


def test_it_is_laid_whole_and_once(published: Path) -> None:
    revised, lost = published / "2013-01-18" / "2013-02.csv", published / "2013-05-18"
    revised.write_text("revised")
    (lost / "2013-06.csv").unlink()
    lost.rename(published / ".2013-05-18")
    (published / ".2013-05-18" / "half.csv").write_text("a killed start leaves this")
    timetable.publish()
    assert revised.read_text() == "revised"
    assert [path.name for path in lost.iterdir()] == ["2013-06.csv"]
    assert [path for path in published.iterdir() if path.name.startswith(".")] == []


def test_the_world_lays_it_at_its_start(database: str) -> None:
    assert (settings().home / "world" / "files" / "timetables" / "2013-01-18" / "2013-02.csv").is_file()


def test_the_year_takes_seconds_not_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "settings", lambda: settings().model_copy(update={"home": tmp_path}))
    flights.cache_clear()
    started = time.monotonic()
    timetable.publish()
    # 1 to 2 s on two busy cores
    assert time.monotonic() - started < 10
