"""Process control on the real year: what is found there, how often it is wrong, and that injected faults are found."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from expectations import watch as module
from expectations.control import Judged, configuration, judge
from expectations.profile import history
from expectations.watch import Unusual, describe, flags, measured, sources, watch
from flightdeck.ledger import Attempt
from flightdeck.warehouse import connect, query
from tests.expectations.conftest import TABLES, batch

KEY = "2013-10"
# of each table: unusual and judged partitions' metrics, unusual and judged days' metrics; the README states the sums
CLEAN = {"flights": (13, 560, 40, 10447), "weather": (7, 384, 14, 10267), "labels": (1, 32, 8, 674)}


def _unusual(attempt: Attempt) -> list[str]:
    return list(attempt.facts.get("unusual", []))


def _found(attempt: Attempt, *starts: str) -> bool:
    """Whether there is a flag that begins with each."""
    return all(any(flag.startswith(f"year.{start}") for flag in _unusual(attempt)) for start in starts)


def test_the_impossible_wind_of_february_is_found(year: dict[str, Attempt]) -> None:
    assert _found(year["2013-02"], "weather 2013-02: max:wind_speed on 2013-02-12 is 1,048, usual ")


def test_the_base_rate_of_december_is_found(year: dict[str, Attempt]) -> None:
    assert _found(year["2013-12"], "labels 2013-12: share:label=true is 0.3618, usual ")


def test_days_that_people_remember_are_found(year: dict[str, Attempt]) -> None:
    """The blizzard of February, Independence Day, Thanksgiving; and that the weather of December 31 never came."""
    assert _found(year["2013-02"], "flights 2013-02: mean:dep_time on 2013-02-09")
    assert _found(year["2013-07"], "flights 2013-07: rows on 2013-07-04")
    assert _found(year["2013-11"], "flights 2013-11: rows on 2013-11-28")
    assert _found(year["2013-12"], "weather 2013-12: rows on 2013-12-31 is 0", "weather 2013-12: freshness_hours is 30")


def test_false_alarms_over_the_clean_year_are_as_stated(year: dict[str, Attempt]) -> None:
    counted = {}
    with connect() as connection:
        for table in TABLES:
            judged = judge(f"year.{table}", history(connection, f"year.{table}", "2013-12", 99, date.min), configuration())
            grains = [[one for one in judged if one.low is not None and (one.day is None) is whole] for whole in (True, False)]
            counted[table] = tuple(number for those in grains for number in (sum(one.excess > 0 for one in those), len(those)))
    assert counted == CLEAN


def test_a_short_history_is_said_and_flags_nothing(year: dict[str, Attempt]) -> None:
    assert _unusual(year["2013-01"]) == []
    facts = year["2013-01"].facts["profiled_year_weather"]
    assert facts["without_limits"] > facts["values"] * 0.8
    assert year["2013-06"].facts["profiled_year_weather"]["without_limits"] == 0


# name → table, how its batch changes, and what is found
FAULTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "twice the volume": ("flights", {"twice": True}, ["rows is 57,778", "rows on "]),
    "half the volume": ("flights", {"where": "flight % 2 = 0"}, ["rows is ", "rows on "]),
    "no rows at all": ("weather", {"where": "false"}, ["rows is 0", "rows on 2013-10-"]),
    "kilometres for miles": ("flights", {"columns": "distance * 1.609 as distance"}, ["mean:distance is 1,6", "mean:distance on "]),
    "Celsius for Fahrenheit": ("weather", {"columns": "(temp - 32) / 1.8 as temp"}, ["mean:temp is 15", "mean:temp on "]),
    "a column mostly null": ("flights", {"columns": "case flight % 10 when 0 then tailnum end as tailnum"}, ["null_rate:tailnum is 0.9"]),
    "a category gone": ("flights", {"where": "origin <> 'LGA'"}, ["share:origin=LGA is 0, ", "share:origin=EWR is "]),
    "a new category": ("flights", {"columns": "replace(origin, 'LGA', 'lga') as origin"}, ["share:origin=lga is ", "share:origin=LGA is 0, "]),
    "one day missing": ("weather", {"where": "day <> 17"}, ["rows on 2013-10-17 is 0, "]),
    "one sentinel": ("weather", {"columns": "case day * hour when 81 then -9999 else pressure end as pressure"}, ["min:pressure on 2013-10-09 is -9,999"]),
    "the last days late": ("flights", {"where": "day <= 28"}, ["freshness_hours is 73"]),
}


@pytest.fixture
def injected(year: dict[str, Attempt], request: pytest.FixtureRequest) -> Iterator[Attempt]:
    """An attempt on October with a fault in it; the clean October is back at the end."""
    table, fault, _ = FAULTS[request.param]
    columns = f"{fault['columns']}, {_others(table, fault['columns'])}" if "columns" in fault else "*"
    batch(table, **fault | {"columns": columns})
    attempt = Attempt("ingest", KEY, 2)
    measured(KEY, "year", [table])
    watch(attempt, [f"year.{table}"])
    yield attempt
    batch(table)
    measured(KEY, "year", [table])


def _others(table: str, columns: str) -> str:
    names = query("select column_name from information_schema.columns where table_schema = 'year' and table_name = %s", table)
    return ", ".join(row["column_name"] for row in names if row["column_name"] != columns.split()[-1])


@pytest.mark.parametrize("injected", FAULTS, indirect=True)
def test_an_injected_fault_is_found(injected: Attempt, request: pytest.FixtureRequest) -> None:
    table, _, found = FAULTS[request.node.callspec.params["injected"]]
    assert _found(injected, *(f"{table} {KEY}: {start}" for start in found)), _unusual(injected)


def test_flags_are_an_alert_a_table_and_attempt(year: dict[str, Attempt]) -> None:
    rows = query("select * from ops.alerts where source like 'year.%%' and partition_key = '2013-12' and attempt = 1 order by source")
    assert [row["source"] for row in rows] == ["year.flights", "year.labels", "year.weather"]
    assert {row["severity"] for row in rows} == {"warning"}
    assert [text for row in sorted(rows, key=lambda row: list(TABLES).index(row["source"][5:])) for text in row["details"]] == _unusual(year["2013-12"])
    assert query("select 1 as n from ops.alerts where source like 'year.%%' and partition_key = '2013-01'") == []


def test_a_partition_s_sources_are_all_that_a_profile_is_kept_of(year: dict[str, Attempt]) -> None:
    assert {"year.flights", "year.labels", "year.weather"} <= set(sources("2013-06"))
    assert sources("2012-06") == []


def test_a_flag_stops_where_the_rules_say_so_after_all_tables_were_watched(year: dict[str, Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    strict = configuration() | {"metrics": {"year.weather/max:wind_speed": {"then": "stop"}, **configuration()["metrics"]}}
    monkeypatch.setattr(module, "configuration", lambda: strict)
    attempt = Attempt("ingest", "2013-02", 4)
    with pytest.raises(Unusual, match=r"2013-02: year\.weather 2013-02: max:wind_speed on 2013-02-12 is 1,048"):
        watch(attempt, ["year.weather", "year.labels"])
    assert "profiled_year_labels" in attempt.facts
    assert query("select severity from ops.alerts where source = 'year.weather' and partition_key = '2013-02' and attempt = 4") == [{"severity": "stop"}]


def test_facts_stay_small_however_much_is_unusual(year: dict[str, Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    attempt = Attempt("ingest", "2013-11", 5)
    watch(attempt, ["year.flights"])
    assert len(_unusual(attempt)) == 3
    assert _unusual(attempt)[2] == f"and {attempt.facts['profiled_year_flights']['flags'] - 2} more"


def test_the_days_of_a_metric_are_one_flag_with_the_farthest() -> None:
    days = [Judged("rows", KEY, date(2013, 10, day), value, 10, 20) for day, value in ((1, 15), (2, 25), (3, 90), (4, 5))]
    whole = Judged("rows", KEY, None, 900, 100, 200)
    assert [flag.text for flag in flags("a.b", [*days, whole])] == [
        "a.b 2013-10: rows on 2013-10-03 is 90, usual 10 to 20, and 2 more days",
        "a.b 2013-10: rows is 900, usual 100 to 200",
    ]


def test_a_text_of_the_data_is_cut_in_a_flag() -> None:
    assert len(describe("a.b", Judged(f"share:x={'y' * 9000}", KEY, None, 0.5))) < 200
    assert describe("a.b", Judged("rows", KEY, None, 0.5)) == "a.b 2013-10: rows is 0.5, no limits yet"
