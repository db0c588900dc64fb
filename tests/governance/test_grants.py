"""Who may read personal columns, by trying: the dbt files say which they are, and PostgreSQL holds it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flightdeck import stack
from flightdeck.contracts import Column, contracts
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import connect
from governance.consumers import problems
from governance.grants import withhold
from governance.lineage import PROJECT
from tests.governance.test_consumers import personal


@pytest.fixture
def root(database: str, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(ROOT / PROJECT, tmp_path / PROJECT)
    yield tmp_path
    assert withhold() == []
    assert allowed("select * from marts.features", "select * from landing.failures", "select row from quarantine.rows") == [True] * 3


def allowed(*statements: str) -> list[bool]:
    done = []
    with connect("reader") as connection:
        connection.execute("select set_config('flightdeck.partition', '2013-01', false)")
        for statement in statements:
            try:
                connection.execute(statement.encode())
                done.append(True)
            except psycopg.errors.InsufficientPrivilege:
                done.append(False)
    return done


TRIED = {
    "select air_time from raw.flights": False,
    "select * from raw.flights": False,
    "select carrier, flight from raw.flights": True,
    # computed from it, under another name, two models on
    "select route_air_time from marts.features": False,
    "select entity_id, distance from marts.features": True,
    "select air_time_total from marts.route_history": False,
    "select * from marts.labels": True,
    # a view gives away no more than what it is made of
    "select route_air_time from marts.features_batch": False,
    "select row from quarantine.rows": False,
    "select id, expectation from quarantine.rows": True,
    "select * from landing.failures": False,
    "select * from raw.weather": True,
}


def made_anew(_: object) -> None:
    with connect() as connection:
        connection.execute("grant select on raw.flights, marts.features to reader")
    assert allowed("select air_time from raw.flights") == [True]
    raise ZeroDivisionError


def test_the_reader_reads_all_but_what_is_personal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowed(*TRIED) == [True] * len(TRIED)
    personal(root, "air_time")
    assert "marts.features.route_air_time" in withhold(root)
    assert dict(zip(TRIED, allowed(*TRIED), strict=True)) == TRIED
    # the next start gives nothing back before it knows
    stack.make_databases()
    # nor do views that dbt makes anew, even where it fails later
    monkeypatch.setattr(stack, "_migrate", made_anew)
    with pytest.raises(ZeroDivisionError):
        stack.migrate(lambda _: None)
    assert dict(zip(TRIED, allowed(*TRIED), strict=True)) == TRIED


def test_a_table_that_is_personal_as_a_whole_is_withheld(root: Path) -> None:
    path = root / PROJECT / "models/marts/labels.yml"
    path.write_text(path.read_text().replace("classification: internal", "classification: personal", 1))
    withhold(root)
    assert allowed("select label from marts.labels", "select count(*) from marts.labels", "select * from raw.flights") == [False, False, True]


def test_what_somebody_else_has_made_is_theirs_to_grant(root: Path) -> None:
    with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as administrator:
        administrator.execute("create view marts.theirs as select 1 as one")
        try:
            assert withhold() == []
            stack.make_databases()
        finally:
            administrator.execute("drop view marts.theirs")


def test_a_seed_can_be_personal(root: Path) -> None:
    (path,) = (root / PROJECT / "seeds").glob("territory_airports.yml")
    path.write_text(re.sub(r"classification: \w+", "classification: personal", path.read_text(), count=1))
    assert any(name.startswith("staging.territory_airports.") for name in withhold(root))


def test_a_column_that_names_people_has_to_be_called_personal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contracts()["planes"].columns, "manufacturer", Column(type="text", subject=True))
    assert "raw.planes.manufacturer names a subject: its classification is personal, in staging/sources.yml" in problems(root)
    personal(root, "manufacturer")
    assert problems(root) == []
