"""Faults of the files: what each does to planes.csv and to the month's timetable, and that `heal` undoes it."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from flightdeck.settings import settings
from tests.world.conftest import Command
from world.__main__ import main

KEY = "2013-02"
PLANES, TIMETABLE = "2013-01-01/planes.csv", "timetables/2013-01-18/2013-02.csv"


def _drops() -> Path:
    return settings().home / "world" / "files"


def _state() -> dict[str, tuple[bytes, int]]:
    """Every file below the drop folders, with its time."""
    return {path.relative_to(_drops()).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in _drops().rglob("*") if path.is_file()}


def _changed(before: dict[str, tuple[bytes, int]]) -> set[str]:
    after = _state()
    assert set(after) == set(before)
    return {name for name in before if after[name][0] != before[name][0]}


def _rows(name: str) -> list[dict[str, str]]:
    with (_drops() / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def before(database: str) -> dict[str, tuple[bytes, int]]:
    return _state()


@pytest.fixture
def inject(world: Command, before: dict[str, tuple[bytes, int]]) -> Iterator[Command]:
    """Injects into the files; after the test each is what it was."""
    assert {PLANES, TIMETABLE} < set(before)
    yield lambda *arguments: world("inject", *arguments, "--source", "files")
    assert _state() != before
    world("heal")
    assert _state() == before


def test_truncated_files_end_in_mid_line(inject: Command, before: dict[str, tuple[bytes, int]]) -> None:
    inject("truncated_file", KEY)
    assert _changed(before) == {PLANES, TIMETABLE}
    for name in (PLANES, TIMETABLE):
        whole, left = before[name][0], (_drops() / name).read_bytes()
        assert whole.startswith(left)
        assert abs(len(left) - len(whole) / 2) <= 1
        assert not left.endswith(b"\n")


@pytest.mark.parametrize(("file", "name"), [("planes.csv", PLANES), ("timetable", TIMETABLE)])
def test_one_of_the_files_can_be_spoiled_alone(inject: Command, before: dict[str, tuple[bytes, int]], file: str, name: str) -> None:
    inject("truncated_file", KEY, "--file", file)
    assert _changed(before) == {name}


def test_duplicate_rows_are_exact_copies(inject: Command, before: dict[str, tuple[bytes, int]]) -> None:
    assert "250 rows" in inject("duplicate_rows", KEY, "--percent", 1)
    assert _changed(before) == {TIMETABLE}
    old, new = Counter(before[TIMETABLE][0].splitlines()), Counter((_drops() / TIMETABLE).read_bytes().splitlines())
    assert (new - old).total() == len(new - old) == 250
    assert (old - new).total() == 0


@pytest.mark.parametrize(("name", "column"), [(PLANES, "owner"), (TIMETABLE, "gate")])
def test_a_new_column(inject: Command, name: str, column: str) -> None:
    old = _rows(name)
    inject("new_column", KEY)
    assert _rows(name) == [row | {column: ""} for row in old]


@pytest.mark.parametrize(("name", "column"), [(PLANES, "seats"), (TIMETABLE, "tailnum")])
def test_a_lost_column(inject: Command, name: str, column: str) -> None:
    old = _rows(name)
    inject("lost_column", KEY)
    assert _rows(name) == [{other: value for other, value in row.items() if other != column} for row in old]


@pytest.mark.parametrize(("name", "column", "called"), [(PLANES, "seats", "seat_count"), (TIMETABLE, "tailnum", "tail_number")])
def test_a_renamed_column(inject: Command, name: str, column: str, called: str) -> None:
    old = _rows(name)
    inject("renamed_column", KEY)
    assert _rows(name) == [{called if other == column else other: value for other, value in row.items()} for row in old]


@pytest.mark.parametrize(("name", "column", "number", "words"), [(PLANES, "seats", "55", "five-five"), (TIMETABLE, "distance", "1089", "one-zero-eight-nine")])
def test_a_retyped_column(inject: Command, name: str, column: str, number: str, words: str) -> None:
    old = _rows(name)
    inject("retyped_column", KEY)
    new = _rows(name)
    assert [row | {column: ""} for row in new] == [row | {column: ""} for row in old]
    assert not any(row[column].isdecimal() for row in new)
    pairs = {(one[column], other[column]) for one, other in zip(old, new, strict=True)}
    assert (number, words) in pairs


def test_poison_of_bytes_that_are_no_utf_8(inject: Command, before: dict[str, tuple[bytes, int]]) -> None:
    inject("poison", KEY, "--kind", "bad_utf8", "--percent", 0.1)
    assert _changed(before) == {TIMETABLE}
    content = (_drops() / TIMETABLE).read_bytes()
    assert content.count(b",N\xff\xfe,") == 25
    with pytest.raises(UnicodeDecodeError):
        content.decode()


@pytest.mark.parametrize(("kind", "column", "value"), [("absurd", "distance", "99999999"), ("huge", "tailnum", "N" * 1_000_000)])
def test_poison_of_values(inject: Command, kind: str, column: str, value: str) -> None:
    inject("poison", KEY, "--kind", kind, "--percent", 0.02)
    cells = [line.split(",") for line in (_drops() / TIMETABLE).read_text().splitlines()]
    assert sum(row[cells[0].index(column)] == value for row in cells) == 5
    assert {len(row) for row in cells} == {15}


def test_the_seed_decides_which_rows_whatever_other_faults_there_are(inject: Command, world: Command) -> None:
    def absurd(seed: int, *others: str) -> set[tuple[str, ...]]:
        world("heal")
        for other in others:
            inject(other, KEY, "--percent", 10)
        inject("poison", KEY, "--kind", "absurd", "--percent", 1, "--seed", seed)
        return {(row["time_hour"], row["carrier"], row["flight"]) for row in _rows(TIMETABLE) if row["distance"] == "99999999"}

    first = absurd(7)
    assert len(first) == 250
    assert absurd(7) == first
    assert absurd(8) != first
    assert absurd(7, "duplicate_rows", "lost_column") == first


def test_what_was_cut_can_be_spoiled_further(inject: Command) -> None:
    inject("truncated_file", KEY)
    for fault in ("duplicate_rows", "new_column", "retyped_column", "lost_column"):
        inject(fault, KEY)
    assert "gate" in (_drops() / TIMETABLE).read_text().splitlines()[0]


def test_a_fault_in_the_way_of_another_is_named_and_changes_nothing(inject: Command) -> None:
    inject("lost_column", KEY, "--file", "timetable")
    before = _state()
    done = CliRunner().invoke(main, ["inject", "renamed_column", KEY, "--source", "files"])
    assert done.exit_code == 1
    assert "no column tailnum" in done.output
    assert "`python -m world heal`" in done.output
    assert _state() == before


def test_the_newest_drop_at_the_closing_and_the_newest_timetable_are_spoiled(world: Command) -> None:
    laid = [(_drops() / name, (_drops() / old).read_bytes()) for name, old in {
        "2013-02-20/planes.csv": PLANES, "2013-03-20/planes.csv": PLANES, "timetables/2013-02-03/2013-02.csv": TIMETABLE,
    }.items()]  # fmt: skip
    for path, content in laid:
        path.parent.mkdir()
        path.write_bytes(content)
    before = _state()
    try:
        world("inject", "truncated_file", KEY, "--source", "files")
        assert _changed(before) == {"2013-02-20/planes.csv", "timetables/2013-02-03/2013-02.csv"}
        world("heal")
        assert _state() == before
    finally:
        for path, _ in laid:
            path.unlink()
            path.parent.rmdir()


def test_without_a_file_its_cure_is_named(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from world import file_faults

    monkeypatch.setattr(file_faults, "settings", lambda: settings().model_copy(update={"home": tmp_path}))
    done = CliRunner().invoke(main, ["inject", "truncated_file", KEY])
    assert done.exit_code == 1
    assert "there is no timetable for 2013-02" in done.output
    assert "lays it when it starts" in done.output
