"""Each expectation of each suite, made to fail by rows that it is there for. A new expectation without such rows turns this red."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from expectations.batch import validate
from expectations.check import tables
from flightdeck.warehouse import connect, query
from tests.ingestion.months import ingested

# far from all data: these rows are made for the test, and taken away after it
KEY = "2036-01"
# which rows a case spoils: all of them, one as it lies, or the one of entity a
WHERE = {
    "all": f"partition_key = '{KEY}'",
    "one": f"ctid = (select min(ctid) from {{table}} where partition_key = '{KEY}')",
    "a": f"partition_key = '{KEY}' and entity_id = 'a'",
}
CASES: dict[str, dict[str, str]] = {
    "landing_flights": {
        "expect_table_row_count_to_be_between:": "delete from landing.flights where {all}",
        "expect_column_values_to_be_unique:entity_id": "update landing.flights set time_hour = '2036-01-05T10:00:00Z', carrier = 'UA', flight = 1 where {all}",
        "expect_column_values_to_be_in_set:origin": "update landing.flights set origin = 'BOS' where {one}",
        "expect_column_values_to_match_regex:carrier": "update landing.flights set carrier = 'ua' where {one}",
        "expect_column_values_to_match_regex:dest": "update landing.flights set dest = 'ORDX' where {one}",
        "expect_column_values_to_be_between:distance": "update landing.flights set distance = 12501 where {one}",
        "expect_column_values_to_be_between:hour": "update landing.flights set hour = 24 where {one}",
        "expect_column_values_to_be_between:minute": "update landing.flights set minute = -1 where {one}",
        "expect_column_values_to_be_between:arr_delay": "update landing.flights set arr_delay = 3001 where {one}",
    },
    "landing_weather": {
        "expect_table_row_count_to_be_between:": "delete from landing.weather where {all}",
        "expect_column_values_to_be_unique:entity_id": "update landing.weather set time_hour = '2036-01-05T10:00:00Z', origin = 'JFK' where {all}",
        "expect_column_values_to_be_in_set:origin": "update landing.weather set origin = 'jfk' where {one}",
        "expect_column_values_to_be_between:wind_speed": "update landing.weather set wind_speed = 254 where {one}",
        "expect_column_values_to_be_between:wind_gust": "update landing.weather set wind_gust = -1 where {one}",
        "expect_column_values_to_be_between:temp": "update landing.weather set temp = 131 where {one}",
        "expect_column_values_to_be_between:dewp": "update landing.weather set dewp = 131 where {one}",
        "expect_column_values_to_be_between:wind_dir": "update landing.weather set wind_dir = 361 where {one}",
        "expect_column_values_to_be_between:precip": "update landing.weather set precip = -0.01 where {one}",
        "expect_column_values_to_be_between:humid": "update landing.weather set humid = 101 where {one}",
        "expect_column_values_to_be_between:pressure": "update landing.weather set pressure = 10130 where {one}",
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


@pytest.fixture
def rows(database: str) -> Iterator[None]:
    """Three good rows of KEY in each table that has a suite."""
    ingested("2013-02")
    with connect() as connection:
        connection.execute("create temp table few_flights as select * from landing.flights where partition_key = '2013-02' order by time_hour limit 3")
        connection.execute("create temp table few_weather as select * from landing.weather where partition_key = '2013-02' order by time_hour limit 3")
        for table in ("flights", "weather"):
            connection.execute(f"update few_{table} set partition_key = '{KEY}'")
            connection.execute(f"insert into landing.{table} select * from few_{table}")
        for entity in "abc":
            for table, good in GOOD.items():
                row = Jsonb(good | {"entity_id": entity, "dest": entity})
                connection.execute(f"insert into marts.{table} select (jsonb_populate_record(null::marts.{table}, %s)).*", (row,))
        yield
        for name in ("landing.flights", "landing.weather", *(f"marts.{table}" for table in GOOD)):
            connection.execute(f"delete from {name} where partition_key = '{KEY}'")


def test_each_suite_has_its_cases() -> None:
    assert [f"{schema}_{table}" for schema in ("landing", "marts") for table in tables(schema)] == list(CASES)


@pytest.mark.parametrize("suite", CASES)
def test_each_expectation_has_a_case_and_says_what_follows(suite: str) -> None:
    assert [_name(expectation) for expectation in _suite(suite)] == list(CASES[suite])
    follows = {expectation.meta["then"] for expectation in _suite(suite)}
    # nothing of the marts can go to quarantine any more
    assert follows <= ({"stop", "quarantine", "count"} if suite.startswith("landing") else {"stop", "count"})


@pytest.mark.parametrize("suite", CASES)
def test_good_rows_pass(rows: None, suite: str) -> None:
    schema, _, table = suite.partition("_")
    outcome = validate(schema, table, f"{table}_batch", KEY)
    assert (outcome.expectations, outcome.rows, outcome.failures) == (len(CASES[suite]), 3, [])


@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, cases in CASES.items() for name in cases])
def test_an_expectation_finds_what_it_is_for(rows: None, suite: str, name: str) -> None:
    schema, _, table = suite.partition("_")
    change = CASES[suite][name].format(**{word: where.format(table=f"{schema}.{table}") for word, where in WHERE.items()})
    with connect() as connection:
        assert connection.execute(change.encode()).rowcount > 0
    outcome = validate(schema, table, f"{table}_batch", KEY)
    assert [failure.name for failure in outcome.failures] == [name]
    assert [failure.then for failure in outcome.failures] == [each.meta["then"] for each in _suite(suite) if _name(each) == name]
    if outcome.failures[0].then == "quarantine":
        assert outcome.failures[0].rows == 1


def test_the_year_s_real_rows_were_seen(rows: None) -> None:
    """The impossible wind of February, by the suite alone."""
    outcome = validate("landing", "weather", "weather_batch", "2013-02")
    assert outcome.rows == 2010
    assert [(failure.name, failure.rows) for failure in outcome.failures] == [("expect_column_values_to_be_between:wind_speed", 1)]
    assert query("select count(*) as n from landing.weather where wind_speed > 253 and partition_key = '2013-02'") == [{"n": 1}]
