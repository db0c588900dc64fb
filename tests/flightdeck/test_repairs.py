"""The files of repair rules: each that cannot be applied is named with its cause, before anything is ingested."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flightdeck import repairs
from flightdeck.contracts import contracts, rows_of
from flightdeck.repairs import BadRule, faults, rules
from flightdeck.settings import ROOT

WIND = "expect_column_values_to_be_between:wind_speed"
GOOD: dict[str, Any] = {"table": "weather", "expectation": WIND, "set": {"wind_speed": "wind_speed / 100"}, "reason": "a lost point", "by": "weather service"}
LATER = {"until": date(2999, 1, 1)}
CASES = [
    ({"table": "whether"}, "table whether has no contract; those that have: airlines, airports, flights, planes, timetable, weather"),
    ({"expectation": "expect_column_values_to_be_between:wind"}, "the suite of weather has no expect_column_values_to_be_between:wind; it has expect_"),
    # it names no row
    ({"expectation": "expect_table_row_count_to_be_between:"}, "the suite of weather has no expect_table_row_count_to_be_between:"),
    ({"set": {"windspeed": "0"}}, "set: weather has no column windspeed"),
    ({"set": {"wind_speed": "windspeed / 100"}}, "set.wind_speed: weather has no column windspeed"),
    ({"set": {"wind_speed": "raw.wind_speed"}}, "set.wind_speed: weather has no column raw.wind_speed"),
    ({"where": "gust > 1"}, "where: weather has no column gust"),
    ({"set": {"wind_speed": "wind_speed /"}}, "set.wind_speed: does not parse: Required keyword: 'expression' missing"),
    ({"where": "true) or (true"}, "where: does not parse: "),
    ({"where": "'open"}, "where: does not parse: "),
    ({"where": "true; drop table raw.weather"}, "where: "),
    ({"where": "drop table raw.weather"}, "where: "),
    ({"set": {"wind_speed": "(select max(wind_speed) from raw.weather)"}}, "set.wind_speed: must be one expression over the row, without a query of its own"),
    ({"set": {"wind_speed": ""}}, "set.wind_speed: "),
    ({"waive": LATER}, "needs one of set and waive"),
    ({"set": {}}, "needs one of set and waive"),
    ({"expectation": None}, "says of no row that it is meant: it needs expectation, where, or both"),
    ({"reason": ""}, "reason: String should have at least 1 character"),
    ({"by": None}, "by: Input should be a valid string"),
    ({"partitions": ["2013-13"]}, "partitions: "),
    ({"sets": {}}, "sets: Extra inputs are not permitted"),
    ({"set": {}, "waive": {"until": "soon"}}, "waive.until: Input should be a valid date"),
    ({"set": {}, "waive": LATER, "expectation": "expect_column_values_to_be_unique:entity_id"}, "expect_column_values_to_be_unique:entity_id cannot be waived"),
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "FOLDER", tmp_path)


def _write(name: str, rule: Any) -> None:
    (repairs.FOLDER / f"{name}.yml").write_text(rule if isinstance(rule, str) else yaml.safe_dump(rule))


def test_the_repository_s_own_rules_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs, "FOLDER", ROOT / "expectations/repairs")
    assert (repairs.FOLDER / "README.md").is_file()
    assert faults() == []


def test_good_rules_come_in_the_order_of_their_names() -> None:
    _write("b", GOOD | {"where": "hour between 1 and 3 and origin in ('EWR') and time_hour < now() at time zone 'UTC'", "partitions": ["2013-02"]})
    _write("a", GOOD | {"set": {}, "waive": LATER})
    assert [(rule.name, rule.expired) for rule in rules()] == [("a", False), ("b", False)]
    assert faults() == []
    a, b = rules()
    assert [(a.covers("weather", key), b.covers("weather", key), b.covers("flights", key)) for key in ("2013-01", "2013-02")] == [
        (True, False, False),
        (True, True, False),
    ]


@pytest.mark.parametrize(("change", "said"), CASES)
def test_a_rule_that_cannot_be_applied_is_named_with_its_cause(change: dict[str, Any], said: str) -> None:
    _write("bad", GOOD | change)
    _write("good", GOOD)
    with pytest.raises(BadRule) as raised:
        rules()
    assert f"bad.yml: {said}" in str(raised.value)
    assert faults() == [str(raised.value)]


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "", "a: [", "set: {a: b"])
def test_what_is_no_rule_at_all_is_named_too(text: str) -> None:
    _write("bad", text)
    assert [fault.partition("bad.yml: ")[1] for fault in faults()] == ["bad.yml: "]


def test_an_expired_waiver_is_a_fault_and_no_error() -> None:
    """Ingestion goes on, and holds its rows again; `make check` says that the file has no effect any more."""
    yesterday = repairs.today() - timedelta(days=1)
    _write("old", GOOD | {"set": {}, "waive": {"until": yesterday}})
    assert [rule.expired for rule in rules()] == [True]
    (fault,) = faults()
    assert fault.endswith(f"old.yml: the waiver has expired on {yesterday}; its rows are held again: prolong it, or take the file away")
    _write("old", GOOD | {"set": {}, "waive": {"until": repairs.today()}})
    assert faults() == []


def test_the_command_says_what_is_wrong_and_fails() -> None:
    assert (CliRunner().invoke(repairs.main).exit_code, CliRunner().invoke(repairs.main).output) == (0, "")
    _write("bad", GOOD | {"table": "whether"})
    done = CliRunner().invoke(repairs.main)
    assert done.exit_code == 1
    assert "bad.yml: table whether has no contract" in done.output


def test_names_of_expectations_are_those_of_the_results() -> None:
    from importlib import import_module

    from expectations.batch import _name

    assert len(contracts()) == 6
    for table in contracts():
        suite = import_module(f"expectations.suites.landing_{table}").EXPECTATIONS
        names = [_name(each.configuration) for each in suite]
        assert set(rows_of(table)) <= set(names)
        assert {_name(each.configuration) for each in suite if each.meta["then"] == "quarantine"} <= set(rows_of(table))
