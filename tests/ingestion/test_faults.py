"""What sources really do, injected into the running world: named, settled or held, and nothing lost, doubled or half published."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from expectations.check import CheckFailed, check_landing
from flightdeck import ledger
from flightdeck.airflow_api import AirflowError
from flightdeck.warehouse import Row, connect, query
from ingestion import late
from ingestion.contract import SourceError
from ingestion.load import load
from ingestion.publish import publish
from tests.ingestion.months import content, ingest, ingested, tries
from world.__main__ import main

KEY = "2013-11"
# the newest month that there is: nothing later has been read, so that what comes late is still to come
LAST, LATER = "2013-12", "2014-01"
Inject = Callable[..., None]


@pytest.fixture
def inject(database: str) -> Iterator[Inject]:
    def run(*arguments: object) -> None:
        done = CliRunner().invoke(main, ["inject", *map(str, arguments)])
        assert done.exit_code == 0, done.output

    yield run
    assert CliRunner().invoke(main, ["heal"]).exit_code == 0


@pytest.fixture(scope="module")
def clean(database: str) -> dict[str, Any]:
    ingested(KEY)
    _timetable(KEY)
    return content(KEY) | _planned()


def _timetable(key: str) -> Row:
    publish(check_landing(load(key, "timetable")))
    row = ledger.last("timetable", key)
    assert row is not None
    return row


def _planned() -> dict[str, Any]:
    sums = query(
        "select md5(string_agg((to_jsonb(t) - '_dlt_load_id')::text, '' order by entity_id)) as sum from raw.timetable t where partition_key = %s", KEY
    )
    return {"timetable": sums[0]["sum"]}


def _facts(row: Row, *tables: str) -> list[int]:
    """Landed, published, quarantined, and settled rows of the tables together."""
    names = ["landed", "published", "quarantined", "duplicates", "superseded"]
    return [sum(row["facts"].get(f"{name}_{table}", 0) for table in tables) for name in names]


@pytest.mark.parametrize(
    ("fault", "source", "table"), [("duplicate_rows", "database", "flights"), ("duplicate_rows", "api", "weather"), ("duplicate_page", "api", "weather")]
)
def test_copies_are_counted_and_go(clean: dict[str, Any], inject: Inject, fault: str, source: str, table: str) -> None:
    inject(fault, KEY, "--source", source)
    landed, published, held, duplicates, superseded = _facts(ingest(KEY), table)
    assert duplicates > 20
    assert (landed, held, superseded) == (published + duplicates, 0, 0)
    assert content(KEY) | _planned() == clean


def test_copies_in_a_file_are_counted_and_go(clean: dict[str, Any], inject: Inject) -> None:
    inject("duplicate_rows", KEY, "--source", "files", "--file", "timetable")
    landed, published, held, duplicates, _ = _facts(_timetable(KEY), "timetable")
    assert duplicates > 200
    assert (landed, held) == (published + duplicates, 0)
    assert content(KEY) | _planned() == clean


def test_a_page_that_repeats_stops_the_month_because_rows_are_missing(clean: dict[str, Any], inject: Inject) -> None:
    inject("repeated_page", KEY)
    with pytest.raises(CheckFailed, match=r"landing\.weather of 2013-11: expect_table_row_count_to_be_between"):
        ingest(KEY)
    assert content(KEY) | _planned() == clean


@pytest.mark.parametrize(
    ("arguments", "stage", "reason"),
    [
        (("truncated_file", "--file", "planes.csv"), "ingest", "registry, file planes.csv of 2013-01-01: cut off in its last line"),
        (("truncated_file", "--file", "timetable"), "timetable", "timetable, file 2013-11.csv of 2013-10-18: cut off in its last line"),
        (("outage",), "ingest", "stations, page 1 of 2013-11: .*503"),
        (("new_column", "--source", "database"), "ingest", r"operations\.flights has the new column gate"),
        (("lost_column", "--source", "database"), "ingest", r"operations\.flights has no column tailnum"),
        (("renamed_column", "--source", "database"), "ingest", r"operations\.flights has no column tailnum \(renamed to tail_number\?\)"),
        (("retyped_column", "--source", "database"), "ingest", r"operations\.flights has column distance as text instead of integer"),
        (("retyped_column", "--source", "api"), "ingest", "rows of weather cannot be read, the first: stations, page 1 of 2013-11: temp: .* is not a number"),
        (("lost_column", "--source", "files", "--file", "planes.csv"), "ingest", "registry, file planes.csv of 2013-01-01 has no column seats"),
        (("renamed_column", "--source", "files", "--file", "timetable"), "timetable", r"has no column tailnum \(renamed to tail_number\?\)"),
        (("retyped_column", "--source", "files", "--file", "timetable"), "timetable", "rows of timetable cannot be read, the first: .*distance"),
    ],
)
def test_what_changed_is_named_and_stops_the_month(clean: dict[str, Any], inject: Inject, arguments: tuple[str, ...], stage: str, reason: str) -> None:
    inject(arguments[0], KEY, *arguments[1:])
    with pytest.raises(SourceError, match=reason):
        load(KEY, stage)
    assert query("select state from ops.ledger where stage = %s and partition_key = %s order by id desc limit 1", stage, KEY) == [{"state": "failed"}]
    assert content(KEY) | _planned() == clean


@pytest.mark.parametrize(
    ("arguments", "noted"),
    [
        (("errors", "--percent", "40"), []),
        (("slow", "--seconds", "0.5"), []),
        (("new_column", "--source", "api"), ["column cloud_cover new, ignored"]),
        (("lost_column", "--source", "api"), ["column visib lost, filled with nothing"]),
        (("renamed_column", "--source", "api"), ["column visib lost, filled with nothing", "column visibility new, ignored"]),
        (("new_column", "--source", "files", "--file", "planes.csv"), ["column owner new, taken over"]),
    ],
)
def test_what_the_contract_lets_in_is_noted_and_flows_on(clean: dict[str, Any], inject: Inject, arguments: tuple[str, ...], noted: list[str]) -> None:
    inject(arguments[0], KEY, *arguments[1:])
    row = ingest(KEY)
    assert sorted({note.partition(": ")[2] for note in row["facts"].get("schema_changes", [])}) == noted
    assert _facts(row, "flights", "weather")[2:] == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "table", "reason"),
    [
        (("nan", "--source", "api"), "weather", "expect_column_values_to_be_between:temp"),
        (("absurd", "--source", "api"), "weather", "expect_column_values_to_be_between:temp"),
        (("nul", "--source", "api"), "weather", "origin: has a NUL, which no table keeps"),
        (("huge", "--source", "api", "--percent", "0.1"), "weather", "expect_column_values_to_be_in_set:origin"),
        (("absurd", "--source", "database", "--percent", "0.1"), "flights", "expect_column_values_to_be_between:arr_delay"),
        (("huge", "--source", "database", "--percent", "0.01"), "flights", "tailnum"),
        (("bad_utf8", "--source", "files", "--percent", "0.1"), "timetable", "tailnum: 'utf-8' codec can't encode"),
        (("absurd", "--source", "files", "--percent", "0.1"), "timetable", "distance"),
        (("huge", "--source", "files", "--percent", "0.01"), "timetable", "tailnum"),
    ],
)
def test_poison_is_held_with_its_reason_and_the_rest_flows_on(
    clean: dict[str, Any], inject: Inject, arguments: tuple[str, ...], table: str, reason: str
) -> None:
    kind, *options = arguments
    inject("poison", KEY, "--kind", kind, *options)
    landed, published, held, duplicates, superseded = _facts(_timetable(KEY) if table == "timetable" else ingest(KEY), table)
    assert held > 0
    assert (landed, duplicates, superseded) == (published + held, 0, 0)
    rows = query("select expectation from quarantine.rows where source_table = %s and partition_key = %s and state = 'held'", table, KEY)
    assert len(rows) == held
    assert [row["expectation"] for row in rows if reason not in row["expectation"]] == []


def test_after_the_healing_the_month_is_as_it_was(clean: dict[str, Any]) -> None:
    ingest(KEY)
    _timetable(KEY)
    assert content(KEY) | _planned() == clean


class Recorder:
    """Airflow at the seam's edge: what it was asked to start. The end-to-end tests ask a real one."""

    started: list[tuple[str, str]] = []  # noqa: RUF012
    away = False

    def trigger(self, dag: str, key: str) -> None:
        if self.away:
            raise AirflowError("Airflow does not answer")
        self.started.append((dag, key))


def test_late_rows_and_corrections_reopen_their_month_and_the_newest_version_wins(inject: Inject, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    monkeypatch.setattr(late, "Airflow", Recorder)
    ingested(LAST)
    before, attempts = content(LAST), len(tries(LAST))
    inject("late_rows", LAST, "--source", "database", "--seed", 1)
    first = ingest(LAST)
    missing = before["flights"][1] - first["facts"]["published_flights"]
    assert missing > 200
    # a correction of what had been read, of each kind of source; the newer of two stands before the older one
    inject("corrections_out_of_order", LAST, "--source", "database", "--seed", 2)
    inject("corrections", LAST, "--source", "api", "--seed", 3)
    monkeypatch.setattr(Recorder, "away", True)
    with pytest.raises(AirflowError):
        late.reopen(LATER)
    monkeypatch.setattr(Recorder, "away", False)
    # the try after it starts what was recorded
    assert late.reopen(LATER) == [LAST]
    assert Recorder.started == [("ingest", LAST)]
    assert LAST in ledger.reopened()
    assert LAST in ledger.standing().unfinished_before("transform", LATER)
    reopened = query("select facts from ops.ledger where state = 'reopened' and partition_key = %s", LAST)[-1]["facts"]
    assert (reopened["changed"]["operations"] > missing, reopened["changed"]["stations"] > 20, reopened["found_by"]) == (True, True, LATER)
    second = ingest(LAST)
    # it has begun: nobody starts it once more
    assert late.reopen(LATER) == []
    assert second["facts"]["superseded_flights"] > 400
    assert second["facts"]["superseded_weather"] == reopened["changed"]["stations"]
    assert second["facts"]["published_flights"] == before["flights"][1]
    newest = query(
        "select distinct on (time_hour, carrier, flight) recorded_at, arr_delay from flights where year = 2013 and month = 12"
        " order by time_hour, carrier, flight, recorded_at desc", role="source_reader",
    )  # fmt: skip
    found = query('select recorded_at, arr_delay from raw.flights where partition_key = %s order by time_hour, carrier collate "C", flight', LAST)
    assert found == newest
    assert late.changed(LATER) == {}
    assert [state for _, state, _ in tries(LAST)[attempts:]] == ["started", "published", "reopened", "started", "published"]


def test_a_reopened_month_is_finished_by_its_transformation(database: str) -> None:
    assert LAST in ledger.reopened()
    ingest(LAST)
    assert LAST in ledger.reopened()
    transform = ledger.begin("transform", LAST)
    transform.record("published")
    assert LAST not in ledger.reopened()
    assert LAST not in ledger.standing().unfinished_before("transform", LATER)
    transform.record("withdrawn")


def test_a_conflict_of_one_version_is_held_as_a_whole(clean: dict[str, Any], inject: Inject) -> None:
    """Two contents under one key and version: nobody can say which is right."""
    inject("duplicate_rows", KEY, "--source", "database", "--percent", "0.01")
    handed = load(KEY)
    one = query("select time_hour, carrier, flight from raw.flights where partition_key = %s order by entity_id limit 1", KEY)[0]
    with connect() as connection:
        connection.execute(
            "insert into landing.flights select (jsonb_populate_record(f, '{\"arr_delay\": 99}')).* from landing.flights f"
            " where (time_hour, carrier, flight) = (%s, %s, %s)", list(one.values()),
        )  # fmt: skip
    handed["facts"]["landed_flights"] += 1
    publish(check_landing(handed))
    held = query("select expectation, row -> 'arr_delay' as delay from quarantine.rows where partition_key = %s and source_table = 'flights'", KEY)
    assert [row["expectation"] for row in held] == ["expect_column_values_to_be_unique:entity_id"] * 2
    assert 99 in [row["delay"] for row in held]
    ingest(KEY)
