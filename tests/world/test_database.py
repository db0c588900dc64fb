"""The operations database: the whole year, each row with the time it was recorded, after it happened."""

import pytest

from flightdeck.warehouse import query
from world import database as operations
from world import files
from world.data import folder

pytestmark = pytest.mark.usefixtures("database")


def _one(sql: str) -> int:
    return int(query(sql, role="source_reader")[0]["n"])  # type: ignore[arg-type]


def test_the_year_is_there_once_however_often_it_is_filled() -> None:
    assert operations.load() == 336_776
    assert operations.load() == 336_776


def test_nothing_is_recorded_before_it_happened() -> None:
    landed = "time_hour + (minute + dep_delay + air_time) * interval '1 minute'"
    assert _one(f"select count(*) as n from flights where arr_delay is not null and recorded_at <= {landed}") == 0
    assert _one("select count(*) as n from flights where recorded_at <= time_hour + minute * interval '1 minute'") == 0
    assert _one("select count(*) as n from flights where arr_delay is null and recorded_at < time_hour + interval '30 hours'") == 0
    assert _one("select count(*) as n from flights where arr_delay is not null") == 336_776 - 9430


def test_a_reader_at_some_time_misses_what_is_recorded_later() -> None:
    known = "select count(*) as n from flights where month = 2 and recorded_at <= '2013-02-10T12:00:00Z'"
    flown = "select count(*) as n from flights where month = 2 and time_hour <= '2013-02-10T12:00:00Z'"
    assert 0 < _one(known) < _one(flown)


def test_the_reader_changes_nothing() -> None:
    import psycopg

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query("delete from flights returning 1", role="source_reader")


def test_a_drop_is_laid_whole_and_once(database: str) -> None:
    from flightdeck.settings import settings

    drops = settings().home / "world" / "files"
    drop = drops / files.FIRST_DROP
    before = {path.name: path.stat().st_mtime_ns for path in drop.iterdir()}
    files.drop()
    assert {path.name: path.stat().st_mtime_ns for path in drop.iterdir()} == before
    assert sorted(before) == ["airlines.csv", "airports.csv", "planes.csv"]
    assert all((drop / name).read_bytes() == (folder() / name).read_bytes() for name in before)
    assert [path.name for path in drops.iterdir() if path.name.startswith(".")] == []
