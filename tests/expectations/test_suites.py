"""Each expectation of each suite, made to fail by rows that it is there for. A new expectation without such rows turns this red."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from expectations.batch import validate
from expectations.check import check_landing, tables
from flightdeck import ledger
from flightdeck.contracts import contracts
from flightdeck.warehouse import Connection, connect, query
from ingestion.load import load
from ingestion.publish import publish
from tests.ingestion.months import ingested

# far from all data: these rows are made for the test, and taken away after it
KEY = "2036-01"
# landing's are all of a real month's, moved to one with as many days and as many hours from UTC
REAL, LANDED = "2013-02", "2041-02"
MOVE = "year = 2041, time_hour = time_hour + (timestamp '2041-02-01' - timestamp '2013-02-01')"
# which rows a case spoils: all of them, one as it lies, those of the first hour, of some days, of the last two, or the one of entity a
WHERE = {
    "all": f"partition_key = '{KEY}'",
    "landed": f"partition_key = '{LANDED}'",
    "one": f"ctid = (select min(ctid) from {{table}} where partition_key in ('{KEY}', '{LANDED}'))",
    "hour": f"partition_key = '{LANDED}' and time_hour = (select min(time_hour) from {{table}} where partition_key = '{LANDED}')",
    "many": f"partition_key = '{LANDED}' and day between 5 and 20",
    "last": f"partition_key = '{LANDED}' and day > 26",
    "a": f"partition_key = '{KEY}' and entity_id = 'a'",
}
CASES: dict[str, dict[str, str]] = {
    "landing_airlines": {
        "expect_table_row_count_to_be_between:": "delete from landing.airlines where {landed} and carrier > 'AA'",
        "expect_column_values_to_be_unique:entity_id": "update landing.airlines set carrier = 'ZZ' where {landed} and carrier in ('AA', 'UA')",
        "expect_column_values_to_be_between:required_nulls": "update landing.airlines set name = null where {one}",
        "expect_column_values_to_match_regex:carrier": "update landing.airlines set carrier = 'ua' where {one}",
        "expect_column_value_lengths_to_be_between:name": "update landing.airlines set name = repeat('x', 101) where {one}",
    },
    "landing_airports": {
        "expect_table_row_count_to_be_between:": "delete from landing.airports where {landed} and faa > 'J'",
        "expect_column_values_to_be_unique:entity_id": "update landing.airports set faa = 'ZZZ' where {landed} and faa in ('EWR', 'JFK')",
        "expect_column_values_to_be_between:required_nulls": "update landing.airports set faa = null where {one}",
        "expect_column_values_to_match_regex:faa": "update landing.airports set faa = 'ewr' where {one}",
        "expect_column_value_lengths_to_be_between:name": "update landing.airports set name = repeat('x', 1000000) where {one}",
        "expect_column_values_to_be_between:lat": "update landing.airports set lat = 'NaN' where {one}",
        "expect_column_values_to_be_between:lon": "update landing.airports set lon = '-Infinity' where {one}",
        "expect_column_values_to_be_between:alt": "update landing.airports set alt = 15001 where {one}",
        "expect_column_values_to_be_between:tz": "update landing.airports set tz = -13 where {one}",
        "expect_column_values_to_be_in_set:dst": "update landing.airports set dst = 'X' where {one}",
        "expect_column_values_to_be_in_set:tzone_exists": "update landing.airports set tzone = 'Mars/Olympus' where {one}",
    },
    "landing_flights": {
        "expect_table_row_count_to_be_between:": "delete from landing.flights where {many}",
        "expect_column_min_to_be_between:hours_before_end": "delete from landing.flights where {last}",
        "expect_column_values_to_be_unique:entity_id": "update landing.flights set carrier = 'ZZ', flight = 1 where {hour}",
        "expect_column_values_to_be_between:required_nulls": "update landing.flights set distance = null where {one}",
        "expect_column_values_to_be_in_set:in_partition": "update landing.flights set month = 1, time_hour = time_hour - interval '31 days' where {one}",
        "expect_column_values_to_be_in_set:time_agrees": "update landing.flights set sched_dep_time = sched_dep_time + 100 where {one}",
        "expect_column_values_to_be_in_set:origin": "update landing.flights set origin = 'BOS' where {one}",
        "expect_column_values_to_match_regex:carrier": "update landing.flights set carrier = 'ua' where {one}",
        "expect_column_values_to_match_regex:dest": "update landing.flights set dest = 'ORDX' where {one}",
        "expect_column_values_to_match_regex:tailnum": "update landing.flights set tailnum = repeat('N', 1000000) where {one}",
        "expect_column_values_to_be_between:flight": "update landing.flights set flight = 10000 where {one}",
        "expect_column_values_to_be_between:distance": "update landing.flights set distance = 12501 where {one}",
        "expect_column_values_to_be_between:minute": "update landing.flights set minute = 60, sched_dep_time = hour * 100 + 60 where {one}",
        "expect_column_values_to_be_between:sched_arr_time": "update landing.flights set sched_arr_time = 2401 where {one}",
        "expect_column_values_to_be_between:dep_time": "update landing.flights set dep_time = -1 where {one}",
        "expect_column_values_to_be_between:arr_time": "update landing.flights set arr_time = 2401 where {one}",
        "expect_column_values_to_be_between:dep_delay": "update landing.flights set dep_delay = -301 where {one}",
        "expect_column_values_to_be_between:arr_delay": "update landing.flights set arr_delay = 3001 where {one}",
        "expect_column_values_to_be_between:air_time": "update landing.flights set air_time = 1441 where {one}",
    },
    "landing_planes": {
        "expect_table_row_count_to_be_between:": "delete from landing.planes where {landed} and tailnum > 'N5'",
        "expect_column_values_to_be_unique:entity_id": "update landing.planes set tailnum = 'N1' where {landed} and tailnum in ('N10156', 'N102UW')",
        "expect_column_values_to_be_between:required_nulls": "update landing.planes set tailnum = null where {one}",
        "expect_column_values_to_match_regex:tailnum": "update landing.planes set tailnum = 'N 1' where {one}",
        "expect_column_values_to_be_between:year": "update landing.planes set year = 1902 where {one}",
        "expect_column_values_to_be_between:longest_text": "update landing.planes set model = repeat('x', 101) where {one}",
        "expect_column_values_to_be_between:engines": "update landing.planes set engines = 9 where {one}",
        "expect_column_values_to_be_between:seats": "update landing.planes set seats = 0 where {one}",
        "expect_column_values_to_be_between:speed": "update landing.planes set speed = 2194 where {one}",
    },
    "landing_timetable": {
        "expect_table_row_count_to_be_between:": "delete from landing.timetable where {many}",
        "expect_column_min_to_be_between:hours_before_end": "delete from landing.timetable where {last}",
        "expect_column_values_to_be_unique:entity_id": "update landing.timetable set carrier = 'ZZ', flight = 1 where {hour}",
        "expect_column_values_to_be_between:required_nulls": "update landing.timetable set distance = null where {one}",
        "expect_column_values_to_be_in_set:in_partition": "update landing.timetable set month = 1, time_hour = time_hour - interval '31 days' where {one}",
        "expect_column_values_to_be_in_set:time_agrees": "update landing.timetable set sched_dep_time = sched_dep_time + 100 where {one}",
        "expect_column_values_to_be_in_set:planned_ahead": "update landing.timetable set published_at = time_hour + interval '1 minute' where {one}",
        "expect_column_values_to_be_in_set:origin": "update landing.timetable set origin = 'BOS' where {one}",
        "expect_column_values_to_match_regex:carrier": "update landing.timetable set carrier = 'ua' where {one}",
        "expect_column_values_to_match_regex:dest": "update landing.timetable set dest = 'ORDX' where {one}",
        "expect_column_values_to_match_regex:tailnum": "update landing.timetable set tailnum = repeat('N', 1000000) where {one}",
        "expect_column_values_to_be_between:flight": "update landing.timetable set flight = 10000 where {one}",
        "expect_column_values_to_be_between:distance": "update landing.timetable set distance = 12501 where {one}",
        "expect_column_values_to_be_between:minute": "update landing.timetable set minute = 60, sched_dep_time = hour * 100 + 60 where {one}",
        "expect_column_values_to_be_between:sched_arr_time": "update landing.timetable set sched_arr_time = 2401 where {one}",
    },
    "landing_weather": {
        "expect_table_row_count_to_be_between:": "delete from landing.weather where {many}",
        "expect_column_min_to_be_between:hours_before_end": "delete from landing.weather where {last}",
        "expect_column_values_to_be_unique:entity_id": "update landing.weather set origin = 'JFK' where {hour}",
        "expect_column_values_to_be_between:required_nulls": "update landing.weather set recorded_at = null where {one}",
        "expect_column_values_to_be_in_set:in_partition": "update landing.weather set month = 1, time_hour = time_hour - interval '31 days' where {one}",
        "expect_column_values_to_be_in_set:time_agrees": "update landing.weather set hour = 24 where {one}",
        "expect_column_values_to_be_in_set:origin": "update landing.weather set origin = 'jfk' where {one}",
        "expect_column_values_to_be_between:wind_speed": "update landing.weather set wind_speed = 254 where {one}",
        "expect_column_values_to_be_between:wind_gust": "update landing.weather set wind_gust = -1 where {one}",
        "expect_column_values_to_be_between:temp": "update landing.weather set temp = 'NaN' where {one}",
        "expect_column_values_to_be_between:dewp": "update landing.weather set dewp = 131 where {one}",
        "expect_column_values_to_be_between:wind_dir": "update landing.weather set wind_dir = 361 where {one}",
        "expect_column_values_to_be_between:precip": "update landing.weather set precip = -0.01 where {one}",
        "expect_column_values_to_be_between:humid": "update landing.weather set humid = 101 where {one}",
        "expect_column_values_to_be_between:pressure": "update landing.weather set pressure = 'Infinity' where {one}",
        "expect_column_values_to_be_between:visib": "update landing.weather set visib = -0.5 where {one}",
    },
    "marts_features": {
        "expect_table_row_count_to_be_between:": "delete from marts.features where {all}",
        "expect_column_values_to_be_unique:entity_id": "update marts.features set entity_id = 'a' where {all}",
        "expect_column_pair_values_a_to_be_greater_than_b:partition_key": "update marts.features set history_key = '2036-01' where {all}",
        "expect_column_values_to_be_between:minute_of_day": "update marts.features set minute_of_day = 1440 where {a}",
        "expect_column_values_to_be_between:day_of_week": "update marts.features set day_of_week = 0 where {a}",
        "expect_column_values_to_be_between:days_from_holiday": "update marts.features set days_from_holiday = 8 where {a}",
        "expect_column_values_to_not_be_null:departures_hour": "update marts.features set departures_hour = null where {a}",
        "expect_column_values_to_not_be_null:plane_seats": "update marts.features set plane_seats = null where {a}",
        "expect_column_values_to_not_be_null:temp": "update marts.features set temp = null where {a}",
        "expect_column_values_to_be_between:route_air_time": "update marts.features set route_air_time = 9 where {a}",
    },
    "marts_labels": {
        "expect_table_row_count_to_be_between:": "delete from marts.labels where {all}",
        "expect_column_values_to_be_unique:entity_id": "update marts.labels set entity_id = 'a' where {all}",
        "expect_column_values_to_not_be_null:label": "update marts.labels set label = null where {a}",
        "expect_column_values_to_not_be_null:known_at": "update marts.labels set known_at = null where {a}",
        "expect_column_values_to_not_be_null:day": "update marts.labels set day = null where {a}",
        "expect_column_pair_values_a_to_be_greater_than_b:known_at": "update marts.labels set known_at = '2036-01-01' where {a}",
    },
    "marts_planned_departures": {
        "expect_table_row_count_to_be_between:": "delete from marts.planned_departures where {all}",
        "expect_column_values_to_be_unique:entity_id": "update marts.planned_departures set entity_id = 'a' where {all}",
        "expect_column_values_to_be_between:planned_clock_minutes": "update marts.planned_departures set planned_clock_minutes = 1440 where {a}",
        "expect_column_values_to_be_between:departures_hour": "update marts.planned_departures set departures_hour = 0 where {a}",
        "expect_column_pair_values_a_to_be_greater_than_b:departures_day": "update marts.planned_departures set departures_day = 1 where {a}",
        "expect_column_values_to_be_between:leg": "update marts.planned_departures set leg = 25 where {a}",
        "expect_column_values_to_not_be_null:leg": "update marts.planned_departures set leg = null where {a}",
        "expect_column_values_to_be_between:minutes_since_leg": "update marts.planned_departures set minutes_since_leg = -1 where {a}",
    },
    "marts_route_history": {
        "expect_table_row_count_to_be_between:": "delete from marts.route_history where {all}",
        "expect_column_values_to_be_unique:row_id": "update marts.route_history set dest = 'a' where {all}",
        "expect_column_values_to_be_between:flights": "update marts.route_history set flights = -1 where {one}",
        "expect_column_pair_values_a_to_be_greater_than_b:air_time_total": "update marts.route_history set air_time_total = 1 where {one}",
    },
}  # fmt: skip
# what all rows of a mart have; each has an entity_id, or a dest, of its own
GOOD: dict[str, dict[str, Any]] = {
    "features": {
        "partition_key": KEY, "history_key": "2035-12", "minute_of_day": 600, "day_of_week": 1, "days_from_holiday": 3, "departures_hour": 20,
        "plane_seats": 149, "temp": 40.0, "route_air_time": 200.0,
    },
    "labels": {"partition_key": KEY, "label": True, "known_at": "2036-01-05T12:00:00Z", "day": "2036-01-05"},
    "planned_departures": {"partition_key": KEY, "planned_clock_minutes": 90, "departures_hour": 20, "departures_day": 300, "leg": 2},
    "route_history": {"partition_key": KEY, "origin": "JFK", "flights": 4, "air_time_total": 800},
}  # fmt: skip


def _suite(name: str) -> list[Any]:
    return list(import_module(f"expectations.suites.{name}").EXPECTATIONS)


def _name(expectation: Any) -> str:
    config = expectation.configuration
    return f"{config.type}:{config.kwargs.get('column') or config.kwargs.get('column_A') or ''}"


@pytest.fixture(scope="module")
def real(database: str) -> None:
    """A real month in all landing tables."""
    ingested(REAL)
    if not ledger.last("timetable", REAL):
        publish(check_landing(load(REAL, "timetable")))


@pytest.fixture
def rows(real: None, suite: str) -> Iterator[str]:
    """Good rows in the suite's table: a whole month in landing, three in a mart; returns their partition."""
    schema, _, table = suite.partition("_")
    with connect() as connection:
        if schema == "landing":
            _copy(connection, table)
        for entity in "abc" if schema == "marts" else "":
            row = Jsonb(GOOD[table] | {"entity_id": entity, "dest": entity})
            connection.execute(f"insert into marts.{table} select (jsonb_populate_record(null::marts.{table}, %s)).*", (row,))
        yield LANDED if schema == "landing" else KEY
        connection.execute(f"delete from {schema}.{table} where partition_key in ('{KEY}', '{LANDED}')")


def _copy(connection: Connection, table: str) -> None:
    connection.execute(f"create temp table month as select * from landing.{table} where partition_key = '{REAL}'")
    connection.execute(f"update month set partition_key = '{LANDED}'" + (f", {MOVE}" if contracts()[table].event_time else ""))
    if table == "weather":
        # the one that cannot be
        connection.execute("update month set wind_speed = null where wind_speed > 253")
    if table == "flights":
        # the source has no flight without a distance, so nor has what dlt made of it; another source may
        connection.execute("alter table landing.flights alter distance drop not null")
    connection.execute(f"insert into landing.{table} select * from month")
    connection.execute("drop table month")


def test_each_suite_has_its_cases() -> None:
    assert [f"{schema}_{table}" for schema in ("landing", "marts") for table in tables(schema)] == list(CASES)


@pytest.mark.parametrize("suite", CASES)
def test_each_expectation_has_a_case_and_says_what_follows(suite: str) -> None:
    assert [_name(expectation) for expectation in _suite(suite)] == list(CASES[suite])
    follows = {expectation.meta["then"] for expectation in _suite(suite)}
    # nothing of the marts can go to quarantine any more
    assert follows <= ({"stop", "quarantine", "count"} if suite.startswith("landing") else {"stop", "count"})


@pytest.mark.parametrize("suite", CASES)
def test_good_rows_pass(rows: str, suite: str) -> None:
    schema, _, table = suite.partition("_")
    outcome = validate(schema, table, f"{table}_batch", rows)
    assert (outcome.expectations, outcome.failures) == (len(CASES[suite]), [])
    assert outcome.rows == query(f"select count(*) as n from {suite.replace('_', '.', 1)} where partition_key = %s", rows)[0]["n"] >= 3  # type: ignore[arg-type]


@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, cases in CASES.items() for name in cases])
def test_an_expectation_finds_what_it_is_for(rows: str, suite: str, name: str) -> None:
    schema, _, table = suite.partition("_")
    change = CASES[suite][name].format(**{word: where.format(table=f"{schema}.{table}") for word, where in WHERE.items()})
    with connect() as connection:
        spoiled = connection.execute(change.encode()).rowcount
    assert spoiled > 0
    outcome = validate(schema, table, f"{table}_batch", rows)
    assert [failure.name for failure in outcome.failures] == [name]
    assert [failure.then for failure in outcome.failures] == [each.meta["then"] for each in _suite(suite) if _name(each) == name]
    if outcome.failures[0].then == "quarantine":
        assert outcome.failures[0].rows == spoiled


def test_the_real_month_has_one_impossible_row(real: None) -> None:
    """The wind of 1,048 mph, by the suites alone."""
    failed = {table: validate("landing", table, f"{table}_batch", REAL).failures for table in tables("landing")}
    assert len(failed) == 6
    assert {table: [(failure.name, failure.rows) for failure in failures] for table, failures in failed.items() if failures} == {
        "weather": [("expect_column_values_to_be_between:wind_speed", 1)]
    }
    assert query("select count(*) as n from landing.weather where wind_speed > 253 and partition_key = %s", REAL) == [{"n": 1}]
