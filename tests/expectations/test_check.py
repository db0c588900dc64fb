"""What follows from a check: stop, quarantine, count; and a check that is broken says nothing about the data."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from expectations.batch import CheckBroken, Failure, Outcome, validate
from expectations.check import CheckFailed, _note, check_landing, check_marts
from flightdeck import ledger
from flightdeck.contracts import contracts
from flightdeck.warehouse import connect, query
from tests.expectations.test_suites import GOOD
from tests.ingestion.months import ingested, move

KEY, EMPTY = "2037-02", "2037-03"
ATTEMPTS = "select attempt, state, facts from ops.ledger where stage = %s and partition_key = %s order by id desc limit 1"
WIND, TEMP, FRESH = (f"expect_column_{name}" for name in ("values_to_be_between:wind_speed", "values_to_be_between:temp", "min_to_be_between:hours_before_end"))


@pytest.fixture
def landed(database: str) -> Iterator[dict[str, Any]]:
    """An attempt that landed a month of weather that no data have: 2,010 good rows."""
    ingested("2013-02")
    with connect() as connection:
        rows = move(connection, "weather", KEY)
        yield asdict(ledger.begin("ingest", KEY)) | {"facts": {"landed_weather": rows}}
        for table in ("landing.planes", "landing.weather"):
            connection.execute(f"delete from {table} where partition_key = '{KEY}'".encode())
        for table in ("failures", "rejected"):
            connection.execute(f"delete from landing.{table} where partition_key = '{KEY}'".encode())


def _spoil(rows: int, change: str) -> int:
    """Change the first `rows` rows by time and station."""
    with connect() as connection:
        first = f"select ctid from landing.weather where partition_key = '{KEY}' order by time_hour, origin limit {rows}"
        return connection.execute(f"update landing.weather set {change} where ctid in ({first})".encode()).rowcount


def _noted() -> list[dict[str, Any]]:
    return query("select * from landing.failures where partition_key = %s", KEY)


def test_all_failing_rows_are_noted_more_than_the_tool_lists(landed: dict[str, Any]) -> None:
    bad = "day < 16 and hour = 3 and partition_key = %s and origin"
    query(f"update landing.weather set wind_speed = 1048 where {bad} <> 'LGA' returning 1", KEY)
    query(f"update landing.weather set temp = 999 where {bad} = 'JFK' returning 1", KEY)
    # an update moves the row: what JFK's were before has no meaning any more
    wind, temp = (
        query(f"select ctid::text as row_id from landing.weather where partition_key = %s and {value}", KEY) for value in ("wind_speed = 1048", "temp = 999")
    )
    assert (len(wind), len(temp)) == (30, 15)
    handed = check_landing(landed)
    noted = {(row["row_id"], row["expectation"], row["source_table"], row["attempt"]) for row in _noted()}
    assert noted == {(row["row_id"], name, "weather", landed["number"]) for name, rows in ((WIND, wind), (TEMP, temp)) for row in rows}
    assert handed["facts"]["checked_landing_weather"]["failed"] == {WIND: 30, TEMP: 15}


def test_a_second_check_notes_anew_and_forgets_what_is_repaired(landed: dict[str, Any]) -> None:
    _spoil(30, "wind_speed = 1048")
    check_landing(landed)
    assert len(_noted()) == 30
    check_landing(landed)
    assert len(_noted()) == 30
    _spoil(30, "wind_speed = 10")
    check_landing(landed)
    assert _noted() == []


def test_what_could_not_be_told_apart_is_noted_as_a_conflict(landed: dict[str, Any]) -> None:
    """Two contents of one key and version: nobody knows which is right, so neither flows on."""
    with connect() as connection:
        connection.execute(
            "insert into landing.weather select (jsonb_populate_record(w, '{\"temp\": 1}')).* from landing.weather w"
            f" where partition_key = '{KEY}' and day = 3 and hour = 3 and origin = 'JFK'"
        )
    check_landing(landed)
    assert [row["expectation"] for row in _noted()] == ["expect_column_values_to_be_unique:entity_id"] * 2


def test_a_stop_stops_the_partition_with_its_reason(landed: dict[str, Any]) -> None:
    query("delete from landing.weather where partition_key = %s and day between 5 and 20 returning 1", KEY)
    rows = query("select count(*) as n from landing.weather where partition_key = %s", KEY)[0]["n"]
    with pytest.raises(CheckFailed, match=rf"landing\.weather of {KEY}: expect_table_row_count_to_be_between \(found {rows}\)"):
        check_landing(landed)
    row = query(ATTEMPTS, "ingest", KEY)[0]
    assert (row["attempt"], row["state"]) == (landed["number"], "failed")
    assert row["facts"]["error"].startswith(f"CheckFailed: landing.weather of {KEY}")
    assert row["facts"]["checked_landing_weather"]["failed"] == {"expect_table_row_count_to_be_between:": rows}


def test_no_rows_stop_the_partition(landed: dict[str, Any]) -> None:
    query("delete from landing.weather where partition_key = %s returning 1", KEY)
    with pytest.raises(CheckFailed, match=rf"weather of {KEY}: expect_table_row_count_to_be_between \(found 0\)"):
        check_landing(landed)


def test_rows_to_quarantine_flow_up_to_the_contract_s_share_and_stop_beyond_it(landed: dict[str, Any]) -> None:
    most = int(contracts()["weather"].most_quarantined * landed["facts"]["landed_weather"])
    assert most == 40
    # each for two reasons, and each one row
    _spoil(most, "wind_speed = 1048, temp = 999")
    _spoil(most // 2, "pressure = 10130")
    check_landing(landed)
    assert len({row["row_id"] for row in _noted()}) == most
    assert len(_noted()) == most * 2 + most // 2
    query("delete from landing.failures where partition_key = %s returning 1", KEY)
    _spoil(most + 1, "wind_speed = 1048, temp = 50")
    with pytest.raises(CheckFailed, match=rf"landing\.weather of {KEY}: 41 of 2010 rows .*, 2\.04% where its contract stands 2\.00%; .*: {WIND} \(41 rows\)"):
        check_landing(landed)
    assert _noted() == []
    assert query(ATTEMPTS, "ingest", KEY)[0]["state"] == "failed"


def test_rows_that_could_not_be_read_count_too(landed: dict[str, Any]) -> None:
    _spoil(40, "wind_speed = 1048")
    with connect() as connection:
        connection.execute("insert into landing.rejected values ('weather', %s, %s, '{}', 'no number')", (KEY, landed["number"]))
    with pytest.raises(CheckFailed, match="41 of 2010 rows"):
        check_landing(landed)


def test_a_count_is_counted_and_goes_on(landed: dict[str, Any]) -> None:
    query("delete from landing.weather where partition_key = %s and day > 26 returning 1", KEY)
    handed = check_landing(landed)
    assert handed["facts"]["checked_landing_weather"]["failed"] == {FRESH: 49.0}
    assert _noted() == []


def test_a_count_in_the_marts_is_counted_and_goes_on(database: str) -> None:
    with connect() as connection:
        for table, good in GOOD.items():
            row = Jsonb(good | {"partition_key": KEY, "entity_id": "a", "dest": "a", "known_at": "2037-02-05T12:00:00Z", "plane_seats": None})
            connection.execute(f"insert into marts.{table} select (jsonb_populate_record(null::marts.{table}, %s)).*", (row,))
        try:
            handed = check_marts(asdict(ledger.begin("transform", KEY)))
        finally:
            for table in GOOD:
                connection.execute(f"delete from marts.{table} where partition_key = '{KEY}'")
    assert handed["facts"]["checked_marts_features"]["failed"] == {"expect_column_values_to_not_be_null:plane_seats": 1}
    assert handed["facts"]["checked_marts_labels"]["failed"] == {}


def test_empty_marts_stop_the_partition(database: str) -> None:
    with pytest.raises(CheckFailed, match=rf"marts\.features of {EMPTY}"):
        check_marts(asdict(ledger.begin("transform", EMPTY)))
    assert query(ATTEMPTS, "transform", EMPTY)[0]["state"] == "failed"


OTHERS = (
    "row_id, entity_id, required_nulls, hours_before_end, in_partition, time_agrees, origin, wind_gust, temp, dewp, wind_dir, precip, humid, pressure, visib"
)
BROKEN = {
    "lacks a column": "select row_id, entity_id, partition_key, origin from landing.weather_batch",
    "has a column of another type": f"select {OTHERS}, '{{}}'::jsonb as wind_speed from landing.weather_batch",
    # one row alone is in time
    "is too slow": "select * from landing.weather_batch where pg_sleep(0.01)::text is not null",
    "cannot be computed": f"select {OTHERS}, 1 / (hour - hour) as wind_speed from landing.weather_batch",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_check_that_is_broken_says_nothing_about_the_data(landed: dict[str, Any], fault: str) -> None:
    with connect() as connection:
        connection.execute(f"create view landing.broken_batch as {BROKEN[fault]}".encode())
        if fault == "is too slow":
            connection.execute("alter role worker set statement_timeout = '200ms'")
        try:
            with pytest.raises(CheckBroken, match=r"checking landing\.weather of 2037-02: expect_"):
                validate("landing", "weather", "broken_batch", KEY)
        finally:
            connection.execute("alter role worker reset statement_timeout")
            connection.execute("drop view landing.broken_batch")


def test_a_view_that_is_gone_is_a_broken_check_and_the_ledger_says_so(landed: dict[str, Any]) -> None:
    with connect() as connection:
        connection.execute("alter view landing.weather_batch rename to weather_elsewhere")
        try:
            with pytest.raises(CheckBroken, match=r"checking landing\.weather of 2037-02: .*weather_batch"):
                check_landing(landed)
        finally:
            connection.execute("alter view landing.weather_elsewhere rename to weather_batch")
    assert query(ATTEMPTS, "ingest", KEY)[0]["facts"]["error"].startswith("CheckBroken: ")


def test_a_check_that_breaks_in_the_middle_leaves_nothing_noted_or_published(landed: dict[str, Any]) -> None:
    with connect() as connection:
        landed["facts"]["landed_planes"] = move(connection, "planes", KEY)
        connection.execute(f"update landing.planes set seats = 0 where partition_key = '{KEY}' and tailnum = 'N10156'")
        published = query("select count(*) as n from raw.planes") + query("select count(*) as n from quarantine.rows")
        # planes are checked before weather
        connection.execute("alter view landing.weather_batch rename to weather_elsewhere")
        try:
            with pytest.raises(CheckBroken, match=r"landing\.weather"):
                check_landing(landed)
        finally:
            connection.execute("alter view landing.weather_elsewhere rename to weather_batch")
    row = query(ATTEMPTS, "ingest", KEY)[0]
    assert row["state"] == "failed"
    assert row["facts"]["checked_landing_planes"]["failed"] == {"expect_column_values_to_be_between:seats": 1}
    assert _noted() == []
    assert query("select count(*) as n from raw.planes") + query("select count(*) as n from quarantine.rows") == published


def test_what_names_no_rows_cannot_be_quarantined(landed: dict[str, Any]) -> None:
    attempt = ledger.Attempt(**landed)
    outcome = Outcome(1, 60, [Failure("expect_table_row_count_to_be_between:", "quarantine", 0, None)])
    with connect() as connection, pytest.raises(CheckBroken, match="names no rows to quarantine"):
        _note(connection, attempt, "weather", outcome)
