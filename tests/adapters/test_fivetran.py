"""A connector made with Fivetran's SDK, run by `fivetran debug` without their cloud → the same raw rows, from its DuckDB file and from PostgreSQL."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from expectations.check import CheckFailed
from flightdeck.partitions import partition
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import query
from ingestion import stations
from ingestion.adapters import fivetran
from ingestion.load import load
from tests.adapters.conftest import KEY
from tests.adapters.through import Stations, raw, unpublished
from tests.ingestion.months import ingest, last

LOCK = "tests/adapters/requirements-fivetran.lock"
MORE, LATER = "2013-05", "2013-06"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A connector's folder, where the SDK keeps its state and the file that stands for a destination."""
    folder = tmp_path_factory.mktemp("fivetran")
    shutil.copy(ROOT / "tests/adapters/fivetran_stations/connector.py", folder)
    return folder


@pytest.fixture
def sync(environment: Callable[[str], Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """One sync of a month, or what is left of it; returns how the command ended."""
    monkeypatch.setenv("FIVETRAN_DESTINATION", str(folder / "files/warehouse.db"))

    def run(key: str, url: str, deleted: tuple[tuple[str, str], ...] = ()) -> int:
        values = {"url": url, "month": key, "as_of": partition(key).closes.isoformat(), "deleted": json.dumps(deleted)}
        (folder / "configuration.json").write_text(json.dumps(values))
        python = environment(LOCK)
        # it looks for its tools on the PATH, writes into HOME, and would report its use
        own = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(folder), "DO_NOT_TRACK": "1"}
        command = [python.with_name("fivetran"), "debug", "--configuration", "configuration.json"]
        return subprocess.run(command, cwd=folder, env=own, stdin=subprocess.DEVNULL, capture_output=True, timeout=120).returncode

    return run


def _new(folder: Path) -> None:
    """The next sync begins at the first page."""
    (folder / "files/state.json").unlink(missing_ok=True)


def test_a_month_that_was_delivered_is_the_same_in_raw(ours: dict[str, Any], sync: Callable[..., int], chosen: Callable[[str, str], None]) -> None:
    assert sync(KEY, settings().url("world")) == 0
    chosen("stations", "ingestion.adapters.fivetran")
    row = ingest(KEY)
    assert raw(KEY) == ours
    assert query("select distinct _dlt_load_id as id from raw.weather where partition_key = %s", KEY) == [{"id": row["inputs"]["stations"]}]


@pytest.fixture
def delivered(database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """The delivered table in a PostgreSQL, as a destination there would hold it."""
    with duckdb.connect(str(folder / "files/warehouse.db"), read_only=True) as file:
        found = file.execute("select * from tester.weather")
        columns = {name: {"VARCHAR": "text", "DOUBLE": "double precision"}.get(str(kind), str(kind)) for name, kind, *_ in found.description}
        rows = found.fetchall()
    address = settings().database_url("flightdeck", database="warehouse")
    monkeypatch.setenv("FIVETRAN_DESTINATION", address)
    monkeypatch.setenv("FIVETRAN_SCHEMA", "delivered")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("create schema delivered")
        connection.execute(f"create table delivered.weather ({', '.join(f'{name} {kind}' for name, kind in columns.items())})".encode())
        connection.cursor().executemany(f"insert into delivered.weather values ({', '.join(['%s'] * len(columns))})".encode(), rows)
        yield connection
        connection.execute("drop schema delivered cascade")


def test_a_postgresql_destination_gives_the_same_but_for_what_was_deleted(
    ours: dict[str, Any], delivered: psycopg.Connection[Any], chosen: Callable[[str, str], None]
) -> None:
    month, after, as_of = partition(KEY), datetime(2013, 1, 20, 7, tzinfo=UTC), datetime(2013, 1, 21, 9, tzinfo=UTC)
    expected = stations.changed(month, after, as_of)
    chosen("stations", "ingestion.adapters.fivetran")
    assert fivetran.changed(month, after, as_of) == expected > 50
    ingest(KEY)
    assert raw(KEY) == ours
    delivered.execute("update delivered.weather set _fivetran_deleted = true where time_hour = '2013-01-15T12:00:00Z' and origin = 'EWR'")
    assert ingest(KEY)["facts"]["landed_weather"] == ours["weather"][1] - 1
    delivered.execute("update delivered.weather set _fivetran_deleted = false, _fivetran_synced = '2013-01-31'")
    before = last(KEY)["attempt"]
    with pytest.raises(fivetran.SourceError, match=r"fivetran, table weather: last delivered 2013-01-31 .*, and 2013-01 is read as of 20"):
        load(KEY)
    assert last(KEY)["attempt"] == before
    delivered.execute("update delivered.weather set _fivetran_synced = now()")
    ingest(KEY)
    assert raw(KEY) == ours


def test_a_sync_that_dies_half_way_publishes_nothing_and_the_next_goes_on(
    folder: Path, sync: Callable[..., int], bad_stations: Stations, chosen: Callable[[str, str], None]
) -> None:
    _new(folder)
    bad_stations.fault = lambda page, body: (500, body) if page == 2 else (200, body)  # type: ignore[method-assign]
    assert sync(MORE, bad_stations.url) != 0
    assert json.loads((folder / "files/state.json").read_text()) == {"page": 1}
    chosen("stations", "ingestion.adapters.fivetran")
    with pytest.raises(CheckFailed, match=f"landing.weather of {MORE}: "):
        ingest(MORE)
    assert query("select count(*) as n from raw.weather where partition_key = %s", MORE) == [{"n": 0}]
    bad_stations.fault = lambda page, body: (200, body)  # type: ignore[method-assign]
    assert sync(MORE, bad_stations.url) == 0
    assert ingest(MORE)["facts"]["published_weather"] > 2000


def test_what_is_not_there_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: Callable[[str, str], None]) -> None:
    chosen("stations", "ingestion.adapters.fivetran")
    monkeypatch.setenv("FIVETRAN_DESTINATION", str(tmp_path / "none.db"))
    unpublished(LATER, "fivetran, table weather: .*; FIVETRAN_DESTINATION says where it is")
