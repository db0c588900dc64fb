"""What follows from a check: stop, quarantine, count; and a check that is broken says nothing about the data."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from expectations.batch import CheckBroken, Failure, Outcome, validate
from expectations.check import CheckFailed, _note, check_landing, check_marts
from flightdeck import ledger
from flightdeck.warehouse import connect, query
from tests.ingestion.months import ingested

KEY = "2037-01"
ATTEMPTS = "select attempt, state, facts from ops.ledger where stage = %s and partition_key = %s order by id desc limit 1"


@pytest.fixture
def landed(database: str) -> Iterator[dict[str, Any]]:
    """An attempt that landed 60 hours of weather and 3 flights of a month that no data have."""
    ingested("2013-02")
    with connect() as connection:
        for table, rows in {"flights": 3, "weather": 60}.items():
            connection.execute(f"create temp table few as select * from landing.{table} where partition_key = '2013-02' order by time_hour limit {rows}")
            connection.execute(f"update few set partition_key = '{KEY}'")
            connection.execute(f"insert into landing.{table} select * from few")
            connection.execute("drop table few")
        yield asdict(ledger.begin("ingest", KEY))
        for table in ("flights", "weather", "failures"):
            connection.execute(f"delete from landing.{table} where partition_key = '{KEY}'")


def _noted() -> list[dict[str, Any]]:
    return query("select * from landing.failures where partition_key = %s", KEY)


def test_all_failing_rows_are_noted_more_than_the_tool_lists(landed: dict[str, Any]) -> None:
    bad = query("update landing.weather set wind_speed = 1048 where partition_key = %s and origin <> 'LGA' returning ctid::text as row_id", KEY)
    worse = query("update landing.weather set temp = 999 where partition_key = %s and origin = 'JFK' returning ctid::text as row_id", KEY)
    # an update moves the row: what JFK's were before has no meaning any more
    wind = query("select ctid::text as row_id from landing.weather where partition_key = %s and wind_speed = 1048", KEY)
    assert len(wind) == len(bad) > 20
    handed = check_landing(landed)
    noted = {(row["row_id"], row["expectation"], row["source_table"], row["attempt"]) for row in _noted()}
    expected = {(row["row_id"], "expect_column_values_to_be_between:wind_speed", "weather", landed["number"]) for row in wind}
    assert noted == expected | {(row["row_id"], "expect_column_values_to_be_between:temp", "weather", landed["number"]) for row in worse}
    assert handed["facts"]["checked_landing_weather"]["failed"] == {
        "expect_column_values_to_be_between:wind_speed": len(wind),
        "expect_column_values_to_be_between:temp": len(worse),
    }


def test_a_second_check_notes_anew_and_forgets_what_is_repaired(landed: dict[str, Any]) -> None:
    query("update landing.weather set wind_speed = 1048 where partition_key = %s and hour = 3 returning 1", KEY)
    check_landing(landed)
    first = len(_noted())
    assert first > 0
    check_landing(landed)
    assert len(_noted()) == first
    query("update landing.weather set wind_speed = 10 where partition_key = %s returning 1", KEY)
    check_landing(landed)
    assert _noted() == []


def test_a_stop_stops_the_partition_with_its_reason(landed: dict[str, Any]) -> None:
    query("update landing.flights set time_hour = '2037-01-05T10:00:00Z', carrier = 'UA', flight = 1 where partition_key = %s returning 1", KEY)
    with pytest.raises(CheckFailed, match=r"landing\.flights of 2037-01: expect_column_values_to_be_unique:entity_id \(3 rows\)"):
        check_landing(landed)
    row = query(ATTEMPTS, "ingest", KEY)[0]
    assert (row["attempt"], row["state"]) == (landed["number"], "failed")
    assert row["facts"]["error"].startswith("CheckFailed: landing.flights of 2037-01")
    assert row["facts"]["checked_landing_flights"]["failed"] == {"expect_column_values_to_be_unique:entity_id": 3}


def test_no_rows_stop_the_partition(landed: dict[str, Any]) -> None:
    query("delete from landing.weather where partition_key = %s returning 1", KEY)
    with pytest.raises(CheckFailed, match="weather of 2037-01: expect_table_row_count_to_be_between"):
        check_landing(landed)


def test_a_count_is_counted_and_goes_on(landed: dict[str, Any]) -> None:
    row = {"partition_key": KEY, "entity_id": "a", "minute_of_day": 600, "temp": 1.0, "label": True, "known_at": "2037-01-05T12:00:00Z"}
    with connect() as connection:
        for table in ("features", "labels"):
            connection.execute(f"insert into marts.{table} select (jsonb_populate_record(null::marts.{table}, %s)).*", (Jsonb(row),))
        try:
            handed = check_marts(asdict(ledger.begin("transform", KEY)))
        finally:
            for table in ("features", "labels"):
                connection.execute(f"delete from marts.{table} where partition_key = '{KEY}'")
    assert handed["facts"]["checked_marts_features"]["failed"] == {"expect_column_values_to_not_be_null:plane_seats": 1}
    assert handed["facts"]["checked_marts_labels"]["failed"] == {}


def test_empty_marts_stop_the_partition(database: str) -> None:
    with pytest.raises(CheckFailed, match=r"marts\.features of 2037-02"):
        check_marts(asdict(ledger.begin("transform", "2037-02")))
    assert query(ATTEMPTS, "transform", "2037-02")[0]["state"] == "failed"


OTHERS = "row_id, entity_id, origin, wind_gust, temp, humid, pressure, visib"
BROKEN = {
    "lacks a column": "select row_id, entity_id, partition_key, origin from landing.weather_batch",
    "has a column of another type": f"select {OTHERS}, '{{}}'::jsonb as wind_speed from landing.weather_batch",
    # 60 rows: one alone is in time
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
            with pytest.raises(CheckBroken, match=r"checking landing\.weather of 2037-01: expect_"):
                validate("landing", "weather", "broken_batch", KEY)
        finally:
            connection.execute("alter role worker reset statement_timeout")
            connection.execute("drop view landing.broken_batch")


def test_a_view_that_is_gone_is_a_broken_check_and_the_ledger_says_so(landed: dict[str, Any]) -> None:
    with connect() as connection:
        connection.execute("alter view landing.weather_batch rename to weather_elsewhere")
        try:
            with pytest.raises(CheckBroken, match=r"checking landing\.weather of 2037-01: .*weather_batch"):
                check_landing(landed)
        finally:
            connection.execute("alter view landing.weather_elsewhere rename to weather_batch")
    assert query(ATTEMPTS, "ingest", KEY)[0]["facts"]["error"].startswith("CheckBroken: ")


def test_what_names_no_rows_cannot_be_quarantined(landed: dict[str, Any]) -> None:
    attempt = ledger.Attempt(**landed)
    outcome = Outcome(1, 60, [Failure("expect_table_row_count_to_be_between:", "quarantine", 0, None)])
    with connect() as connection, pytest.raises(CheckBroken, match="names no rows to quarantine"):
        _note(connection, attempt, "weather", outcome)
