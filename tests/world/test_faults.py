"""The command line of faults: what it lists, whom it takes, what it refuses; and which rows a fault falls on."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from flightdeck.settings import ROOT
from tests.world.conftest import Command
from world.__main__ import SOURCES, main
from world.faults import KINDS, WHAT, Fault, chosen, closes, late

KEYS = [f"key {number}" for number in range(1000)]


def _chosen(percent: float, seed: int = 0) -> list[str]:
    return chosen(KEYS, Fault("late_rows", "2013-02", percent=percent, seed=seed), len(KEYS))


def test_the_same_seed_chooses_the_same_rows_whatever_their_order() -> None:
    assert len(_chosen(5)) == 50
    assert chosen(reversed(KEYS), Fault("poison", "2013-02", percent=5), len(KEYS)) == _chosen(5)
    assert set(_chosen(5)) < set(_chosen(20))
    assert len(set(_chosen(5)) & set(_chosen(5, seed=1))) < 25


def test_at_least_one_row_is_chosen_and_at_most_all() -> None:
    assert len(_chosen(0.0001)) == 1
    assert len(_chosen(100)) == 1000


@pytest.mark.parametrize(("month", "closed"), [("2013-02", "2013-03-03T05:00:00"), ("2013-03", "2013-04-03T04:00:00"), ("2013-12", "2014-01-03T05:00:00")])
def test_late_is_ten_days_after_the_closing(month: str, closed: str) -> None:
    assert closes(month) == datetime.fromisoformat(closed).replace(tzinfo=UTC)
    assert (late(month) - closes(month)).days == 10


def test_each_fault_is_listed_with_the_sources_that_can_have_it() -> None:
    listed = CliRunner().invoke(main, ["faults"]).output.splitlines()
    assert [line.split()[0] for line in listed[: len(WHAT)]] == list(WHAT)
    assert len(listed) == len(WHAT) + len(KINDS)
    offered = {label for module in SOURCES.values() for label in module.FAULTS}
    assert offered <= {*WHAT, *(f"poison {kind}" for kind in KINDS)}
    assert {label.split()[0] for label in offered} == set(WHAT)
    assert {label.split()[1] for label in offered if " " in label} == set(KINDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["banana", "2013-02"], ["banana", "late_rows"]),
        (["late_rows"], ["MONTH"]),
        (["late_rows", "2013-13"], ["2013-13", "2013-01..2013-12"]),
        (["late_rows", "2014-01"], ["2014-01", "2013-01..2013-12"]),
        (["late_rows", "2013-02", "--percent", "0"], ["percent"]),
        (["late_rows", "2013-02", "--percent", "101"], ["percent"]),
        (["late_rows", "2013-02", "--percent", "nan"], ["percent"]),
        (["slow", "2013-02", "--seconds", "inf"], ["seconds"]),
        (["late_rows", "2013-02", "--source", "files"], ["files cannot have late_rows", "database, api can"]),
        (["poison", "2013-02"], ["--kind", "nan", "huge"]),
        (["late_rows", "2013-02", "--kind", "nan"], ["poison needs --kind"]),
        (["poison", "2013-02", "--kind", "nan", "--source", "database"], ["database cannot have poison nan", "api can"]),
        (["duplicate_rows", "2013-02", "--source", "files", "--file", "planes.csv"], ["planes.csv cannot have duplicate_rows", "timetable can"]),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(database: str, arguments: list[str], words: list[str]) -> None:
    done = CliRunner().invoke(main, ["inject", *arguments])
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    assert [word for word in words if word not in done.output] == []


def test_without_a_source_each_that_can_have_it_has_it(world: Command) -> None:
    said = world("inject", "duplicate_rows", "2013-02", "--percent", 2).splitlines()
    assert [line.split(":")[0] for line in said] == ["database", "api", "files"]
    assert [number in line for number, line in zip(["499 rows", "40 rows", "499 rows"], said, strict=True)] == [True] * 3
    # the database's flights and the timetable's departures are the same, and so is the choice
    assert said[0].split("such as ")[1] == said[2].split("such as ")[1]


def test_heal_says_what_it_put_back(world: Command) -> None:
    world("inject", "new_column", "2013-02")
    assert world("heal").splitlines() == ["database: table flights is what it was", "api: the API answers as before", "files: 2 files are what they were"]
    assert world("heal").splitlines() == ["database: has no fault", "api: has no fault", "files: has no fault"]


def test_a_database_that_is_away_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightdeck.settings import settings
    from world import database_faults

    monkeypatch.setattr(database_faults, "settings", lambda: settings().model_copy(update={"port_postgres": 1}))
    done = CliRunner().invoke(main, ["inject", "new_column", "2013-02", "--source", "database"])
    assert done.exit_code == 1
    assert "database: does not answer" in done.output
    assert "flightdeck up" in done.output


def test_the_commands_start_without_the_server() -> None:
    look = "import sys; import world.__main__; sys.exit('uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT).returncode == 0
    done = subprocess.run([sys.executable, "-m", "world", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert all(word in done.stdout for word in ("python -m world", "inject", "heal", "faults"))
