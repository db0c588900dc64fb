"""Contracts compared with what follows from them: nothing differs here, and each kind of difference is reported with both values."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from flightdeck import contracts as module
from flightdeck.contracts import contracts, differences
from flightdeck.settings import ROOT

FLIGHTS, SUITE, VIEW = "ingestion/contracts/flights.yml", "expectations/suites/landing_flights.py", "ingestion/batches/flights.sql"
RAW, SOURCES = "ingestion/tables.sql", "dbt_project/models/staging/sources.yml"
# (file, what stands in it, what stands there instead, what is said of it)
CASES = [
    (RAW, "dep_delay int,", "dep_delay text,", "ingestion/tables.sql: raw.flights: dep_delay: 'text' here, 'integer' in the contract"),
    (RAW, "dest text not null, air_time", "dest text, air_time", "ingestion/tables.sql: raw.flights: dest: 'text' here, 'text, required' in the contract"),
    (RAW, "air_time int,", "", "ingestion/tables.sql: raw.flights: air_time: 'nothing' here, 'integer' in the contract"),
    (RAW, "air_time int,", "air_time int, gate text,", "ingestion/tables.sql: raw.flights: gate: 'text' here, 'nothing' in the contract"),
    (RAW, "exists raw.flights (", "exists raw.trips (", "ingestion/tables.sql: raw.trips has no contract"),
    (FLIGHTS, "table: flights", "table: trips", f"{FLIGHTS}: table: 'trips' here, 'flights' in the contract"),
    (VIEW, "hour, minute, time_hour", "hour, time_hour", f"{VIEW}: required_nulls counts: "),
    (SUITE, "max_value=40_000", "max_value=50_000", f"{SUITE}: row count: (20000, 50000) here, (20000, 40000) in the contract"),
    (SUITE, "max_value=24", "max_value=36", f"{SUITE}: hours_before_end: (None, 36) here, (None, 24.0) in the contract"),
    (SUITE, '"hours_before_end", max', '"air_time", max', f"{SUITE}: hours_before_end: None here, (None, 24.0) in the contract"),
    (SUITE, 'column="required_nulls"', 'column="minute"', f"{SUITE}: required_nulls: None here, (None, 0) in the contract"),
    (SUITE, 'column="air_time"', 'column="airtime"', f"{SUITE}: column airtime: neither the contract nor the batch view has it"),
    (SOURCES, "One row a flight that left", "A row a flight that left", f"{SOURCES}: operations.flights: description: 'A row a flight that left"),
    (SOURCES, "owner: airline operations", "owner: nobody", f"{SOURCES}: operations.flights: owner: 'nobody' here, 'airline operations' in the contract"),
    (SOURCES, "name: dep_delay, data_type: integer", "name: dep_delay, data_type: text", f"{SOURCES}: operations.flights: dep_delay: 'text' here, 'integer'"),
    (SOURCES, "name: dep_delay,", "name: delay,", f"{SOURCES}: operations.flights: delay: 'integer' here, 'nothing' in the contract"),
    (SOURCES, "- name: flights", "- name: trips", f"{SOURCES}: operations.flights: owner: None here, 'airline operations' in the contract"),
]  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that are compared, to be spoiled."""
    for name in ("ingestion", "expectations", "dbt_project/models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_nothing_differs() -> None:
    assert len(contracts()) == 6
    assert differences() == []


@pytest.mark.parametrize(("name", "old", "new", "said"), CASES)
def test_a_difference_is_reported_with_both_values(copy: Path, name: str, old: str, new: str, said: str) -> None:
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1))
    found = differences(copy)
    assert [each for each in found if each.startswith(said)], found


@pytest.mark.parametrize("name", [VIEW, SUITE])
def test_a_file_that_is_not_there_is_reported(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert differences(copy) == [f"{name}: is not there, and flights has a contract"]


def test_the_command_says_what_differs_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (CliRunner().invoke(module.main).exit_code, CliRunner().invoke(module.main).output) == (0, "")
    monkeypatch.setattr(module, "differences", lambda: ["one", "another"])
    done = CliRunner().invoke(module.main)
    assert (done.exit_code, done.output) == (1, "one\nanother\n")
