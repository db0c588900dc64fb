"""Rows that rules repair or waive, through load, check and publish: the year's impossible wind, and whatever is made wrong beside it."""

import copy
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from expectations import repair as repairing
from expectations.check import check_landing
from expectations.repair import repair
from flightdeck import held, repairs
from flightdeck.cli import main
from flightdeck.exporter import queries
from flightdeck.repairs import BadRule
from flightdeck.warehouse import Row, connect, query
from ingestion import stations
from ingestion.load import STAGES, load
from ingestion.publish import Lost, publish
from tests.ingestion.months import content, ingest, last, seen, tries
from tests.sandbox import die, killed

KEY, PLACE = "2013-02", "2013-02-12T08:00:00Z/EWR"
WIND, GUST = (f"expect_column_values_to_be_between:wind_{name}" for name in ("speed", "gust"))
SAID = {"table": "weather", "reason": "the station's decimal point was lost", "by": "weather service"}
CURE = SAID | {"expectation": WIND, "set": {"wind_speed": "wind_speed / 100"}}
Write = Callable[..., None]


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(february: Row) -> Iterator[None]:
    before = content(KEY)
    yield
    ingest(KEY)
    assert content(KEY) == before


@pytest.fixture
def write(february: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write these rules, and no others, into the rules' folder."""
    monkeypatch.setattr(repairs, "FOLDER", tmp_path)
    # the one source that these tests are about: the others take most of a month's time
    monkeypatch.setitem(STAGES, "ingest", {"stations": stations})

    def write(**rules: dict[str, Any]) -> None:
        for path in tmp_path.glob("*.yml"):
            path.unlink()
        for name, rule in rules.items():
            (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(rule))

    write()
    if [(row["state"], row["entity_key"], row["expectation"]) for row in _rows()] != [("held", PLACE, WIND)]:
        ingest(KEY)
    return write


def _spoiled(key: str, change: str, where: str) -> Row:
    """Ingest with landed rows that were changed before the check."""
    handed = load(key)
    with connect() as connection:
        assert connection.execute(f"update landing.weather set {change} where partition_key = '{key}' and {where}".encode()).rowcount > 0
    publish(check_landing(handed))
    return last(key)


def _rows() -> list[Row]:
    return query("select * from quarantine.rows where partition_key = %s order by id", KEY)


def _wind() -> list[float]:
    """As raw has it, and so staging, which dbt builds on."""
    (raw,) = query("select wind_speed from raw.weather where time_hour = '2013-02-12T08:00:00Z' and origin = 'EWR'")
    staged = query("select wind_speed from staging.stg_stations__weather where observed_at = '2013-02-12T08:00:00Z' and origin = 'EWR'")
    assert staged == [raw]
    return [raw["wind_speed"]]


def _states() -> list[tuple[str, str]]:
    return [(row["state"], row["entity_key"]) for row in _rows()]


def _conserved(facts: dict[str, Any]) -> None:
    """By count, as publishing has it, and by key: each landed row is in raw, or held, and no row is both."""
    assert facts["published_weather"] + facts["quarantined_weather"] == facts["landed_weather"] == 2010
    landed = query("select count(*) as n from landing.weather where partition_key = %s", KEY)[0]["n"]
    both = query(
        "select count(*) filter (where r.origin is not null) as raw, count(*) filter (where q.id is not null) as held,"
        " count(*) filter (where (r.origin is null) = (q.id is null)) as wrong from landing.weather l"
        " left join raw.weather r using (partition_key, origin, time_hour) left join quarantine.rows q on q.state = 'held' and q.source_table = 'weather'"
        " and (q.row ->> 'origin', (q.row ->> 'time_hour')::timestamptz) = (l.origin, l.time_hour) where l.partition_key = %s", KEY,
    )[0]  # fmt: skip
    assert both == {"raw": facts["published_weather"], "held": facts["quarantined_weather"], "wrong": 0}
    assert landed == 2010


def test_a_repaired_row_is_published_and_its_original_kept(write: Write) -> None:
    write(decimal=CURE)
    facts = ingest(KEY)["facts"]
    assert _wind() == [pytest.approx(10.4836058)]
    (row,) = _rows()
    assert (row["state"], row["entity_key"], row["expectation"], row["load_id"]) == ("replayed", PLACE, WIND, last(KEY)["inputs"]["stations"])
    assert (row["rule"], row["reason"], row["by"]) == ("decimal", SAID["reason"], SAID["by"])
    assert row["row"]["wind_speed"] == pytest.approx(1048.36058)
    assert {name for name, value in row["repaired"].items() if value != row["row"][name]} == {"wind_speed"}
    assert (facts["repaired_weather"], facts["quarantined_weather"], facts["rules_weather"]) == (
        1,
        0,
        {"decimal": {"rows": 1, "by": SAID["by"], "reason": SAID["reason"]}},
    )
    assert facts["checked_landing_weather"]["failed"] == {}
    _conserved(facts)


def test_twice_is_once_and_without_its_rule_the_row_is_held_again(write: Write) -> None:
    before = content(KEY)
    write(decimal=CURE)
    ingest(KEY)
    repaired = content(KEY)
    assert repaired != before
    ingest(KEY)
    assert content(KEY) == repaired
    write()
    facts = ingest(KEY)["facts"]
    assert content(KEY) == before
    assert not {"repaired_weather", "rules_weather", "waived_weather"} & facts.keys()
    _conserved(facts)


def test_a_row_that_no_longer_fails_is_not_touched(write: Write) -> None:
    """The condition alone would mean every row; a rule is for those that a check would hold."""
    write(all=SAID | {"where": "true", "set": {"wind_speed": "0"}})
    facts = ingest(KEY)["facts"]
    assert facts["repaired_weather"] == 1
    assert query("select count(*) as n from raw.weather where partition_key = %s and wind_speed = 0", KEY)[0]["n"] < 200


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"set": {"wind_speed": "wind_speed / 2"}}, f"fails {WIND}"),
        ({"set": {"wind_speed": "1", "temp": "999"}}, "fails expect_column_values_to_be_between:temp"),
        ({"set": {"wind_speed": "1", "hour": "hour + 1"}}, "fails expect_column_values_to_be_in_set:time_agrees"),
        # the row of another station at the same hour: two of one key
        ({"set": {"wind_speed": "1", "origin": "'JFK'"}}, "fails expect_column_values_to_be_unique:entity_id"),
        ({"set": {"wind_speed": "1", "month": "null"}}, "fails expect_column_values_to_be_between:required_nulls"),
        ({"set": {"temp": "temp"}}, "changes nothing of it"),
    ],
)
def test_a_rule_that_does_not_cure_changes_nothing(write: Write, rule: dict[str, Any], fault: str) -> None:
    before = content(KEY)
    write(useless=CURE | rule)
    (judged,) = repair().rows
    assert judged.fault is not None
    assert judged.fault.startswith(fault)
    assert content(KEY) == before
    assert query("select count(*) as n from pg_tables where tablename ~ 'mended'") == [{"n": 0}]


def test_nor_does_it_when_the_month_is_ingested(write: Write) -> None:
    before = content(KEY)
    write(useless=CURE | {"set": {"wind_speed": "wind_speed / 2"}})
    facts = ingest(KEY)["facts"]
    assert content(KEY) == before
    assert facts["not_repaired_weather"] == [f"{PLACE}: useless: fails {WIND}"]
    _conserved(facts)


def test_one_row_that_is_not_cured_holds_up_no_other(write: Write) -> None:
    write(decimal=CURE)
    facts = _spoiled(KEY, "wind_speed = 90000", "day = 5 and hour = 5 and origin = 'JFK'")["facts"]
    assert sorted(_states()) == [("held", "2013-02-05T10:00:00Z/JFK"), ("replayed", PLACE)]
    assert (facts["repaired_weather"], facts["quarantined_weather"]) == (1, 1)
    _conserved(facts)


def test_a_row_that_stays_as_it_came_is_in_the_way_of_one_that_would_take_its_key(write: Write) -> None:
    """The first is not cured, for there is no such station; so the second may not become a row of the first one's station."""
    write(
        first=CURE | {"where": "origin = 'EWR'", "set": {"wind_speed": "1", "origin": "'XXX'"}},
        second=CURE | {"where": "origin = 'JFK'", "set": {"wind_speed": "1", "origin": "'EWR'"}},
    )
    facts = _spoiled(KEY, "wind_speed = 5000", "day = 12 and hour = 3 and origin = 'JFK'")["facts"]
    assert sorted(_states()) == [("held", PLACE), ("held", PLACE.replace("EWR", "JFK"))]
    assert len(facts["not_repaired_weather"]) == 2
    _conserved(facts)


def test_several_rules_cure_a_row_together(write: Write) -> None:
    write(decimal=CURE, gust=SAID | {"expectation": GUST, "set": {"wind_gust": "null"}, "by": "another team"})
    _spoiled(KEY, "wind_gust = 999", "day = 12 and hour = 3 and origin = 'EWR'")
    (row,) = _rows()
    assert (row["state"], row["rule"], row["by"]) == ("replayed", "decimal, gust", "weather service, another team")
    assert row["repaired"]["wind_gust"] is None


def test_a_waived_row_passes_until_its_waiver_ends(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(KEY)
    write(gale=SAID | {"where": "wind_speed > 1000", "waive": {"until": date(2030, 1, 31)}})
    monkeypatch.setattr(repairs, "today", lambda: date(2030, 1, 31))
    facts = ingest(KEY)["facts"]
    assert _wind() == [pytest.approx(1048.36058)]
    (row,) = _rows()
    assert (row["state"], row["rule"], row["expectation"], row["repaired"]) == ("waived", "gale", WIND, None)
    assert (facts["waived_weather"], facts["quarantined_weather"], facts["rules_weather"]["gale"]["rows"]) == (1, 0, 1)
    # it is true of the row all the same
    assert facts["checked_landing_weather"]["failed"] == {WIND: 1}
    _conserved(facts)
    monkeypatch.setattr(repairs, "today", lambda: date(2030, 2, 1))
    facts = ingest(KEY)["facts"]
    assert content(KEY) == before
    assert (facts["expired_weather"], facts["quarantined_weather"]) == (["gale"], 1)
    with pytest.raises(BadRule, match=r"gale\.yml: the waiver has expired on 2030-01-31; its rows are held again"):
        repair()


def test_a_waiver_covers_what_it_names_and_nothing_else(write: Write) -> None:
    write(gale=SAID | {"expectation": WIND, "waive": {"until": date(2999, 1, 1)}})
    where = "day = 12 and hour = 3 and origin = 'EWR'"
    facts = _spoiled(KEY, "wind_gust = 999", where)["facts"]
    assert [(row["state"], row["expectation"]) for row in _rows()] == [("held", f"{GUST}, {WIND}")]
    (judged,) = repair().rows
    assert judged.fault == f"still fails {GUST}"
    _conserved(facts)
    # without a name: all but what raw could not take
    write(all=SAID | {"where": "true", "waive": {"until": date(2999, 1, 1)}})
    assert _spoiled(KEY, "wind_gust = 999", where)["facts"]["waived_weather"] == 1
    handed = load(KEY)
    query("update landing.weather set month = null where partition_key = %s and wind_speed > 1000 returning 1", KEY)
    publish(check_landing(handed))
    assert [row["state"] for row in _rows()] == ["held"]


def test_the_command_shows_before_and_after_and_marks_what_would_pass(write: Write) -> None:
    write(decimal=CURE, other=SAID | {"expectation": GUST, "set": {"wind_gust": "null"}})
    before, readers = content(KEY), seen(KEY)
    done = CliRunner().invoke(main, ["quarantine", "repair", "--dry-run"])
    assert (done.exit_code, content(KEY)) == (0, before)
    assert done.output.splitlines() == [
        f"weather {KEY} {PLACE}  decimal: wind_speed 1048.36058 → 10.4836058: would be repaired",
        "other: means no row that is held",
    ]
    for _ in range(2):
        done = CliRunner().invoke(main, ["quarantine", "repair", "decimal"])
        assert done.output.splitlines()[1:] == ["1 row(s) wait for `flightdeck quarantine replay`"]
        (row,) = _rows()
        assert (row["state"], row["rule"], row["by"], row["repaired"]["wind_speed"]) == ("repaired", "decimal", SAID["by"], pytest.approx(10.4836058))
    # nothing that readers have is other than before, and it is the same row
    assert seen(KEY) == readers
    (marked,) = held.marked(KEY)
    assert ingest(KEY)["facts"]["repaired_weather"] == 1
    assert held.became(marked) == "replayed: by decimal"
    assert held.marked(None) == []
    assert CliRunner().invoke(main, ["quarantine", "repair", "decimal"]).output == "decimal: means no row that is held\n"


def test_a_mark_whose_rule_is_gone_is_taken_back(write: Write) -> None:
    write(decimal=CURE)
    repair()
    (marked,) = held.marked(KEY)
    write()
    assert CliRunner().invoke(main, ["quarantine", "repair"]).output == "there is no rule; docs/quarantine.md shows one\n"
    assert [(row["state"], row["rule"], row["repaired"]) for row in _rows()] == [("held", None, None)]
    write(decimal=CURE)
    repair()
    write()
    ingest(KEY)
    assert held.became(marked) == f"held: {WIND}"


def test_the_command_refuses_with_the_reason(write: Write) -> None:
    write(useless=CURE | {"set": {"wind_speed": "wind_speed / 2"}})
    done = CliRunner().invoke(main, ["quarantine", "repair"])
    assert done.exit_code == 1
    assert done.output == f"weather {KEY} {PLACE}  useless: wind_speed 1048.36058 → 524.18029: refused, fails {WIND}\n"
    assert CliRunner().invoke(main, ["quarantine", "replay"]).output.startswith("no row waits to be replayed")
    done = CliRunner().invoke(main, ["quarantine", "repair", "none"])
    assert (done.exit_code, done.output) == (1, "Error: there is no rule none; there are: useless\n")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"set": {"wind_speed": "no_such_function(wind_speed)"}}, r"bad\.yml: function no_such_function\(double precision\) does not exist"),
        ({"set": {"wind_speed": "wind_speed || ':'"}}, r"bad\.yml: invalid input syntax for type double precision"),
        ({"set": {"wind_speed": "1 / (hour - hour)"}}, r"bad\.yml: division by zero"),
        ({"where": "wind_speed like '9%'"}, r"bad\.yml: operator does not exist: double precision ~~ unknown"),
    ],
)
def test_sql_that_does_not_run_names_its_file_and_publishes_nothing(write: Write, rule: dict[str, Any], said: str) -> None:
    write(bad=CURE | rule)
    readers = seen(KEY)
    with pytest.raises(BadRule, match=said):
        repair("bad")
    with pytest.raises(BadRule, match=said):
        check_landing(load(KEY))
    assert tries(KEY)[-1][1] == "failed"
    assert seen(KEY) == readers


def test_what_a_rule_says_is_sql_of_one_row(write: Write) -> None:
    """A comment, a percent sign, a type that is another, a column of a name that we use too."""
    write(odd=CURE | {"where": "origin like 'EW%' and partition_key = '2013-02' -- of one station", "set": {"wind_speed": "'12.5' -- knots"}})
    ingest(KEY)
    assert _wind() == [12.5]


def test_a_row_that_moved_since_the_check_is_not_taken_for_repaired(write: Write) -> None:
    write(decimal=CURE)
    readers, handed = seen(KEY), check_landing(load(KEY))
    query("update landing.weather set visib = visib where partition_key = %s and time_hour = '2013-02-12T08:00:00Z' returning 1", KEY)
    with pytest.raises(Lost, match="weather of 2013-02: 1 rows were repaired or waived, and 0 of them are where they were and pass"):
        publish(handed)
    assert seen(KEY) == readers


RULES = {"replayed": CURE, "waived": SAID | {"expectation": WIND, "waive": {"until": date(2999, 1, 1)}}}


@pytest.mark.parametrize("state", RULES)
def test_killed_between_a_row_and_its_note_the_same_attempt_goes_on(write: Write, state: str) -> None:
    """Airflow tries the task again, on what is landed."""
    write(rule=RULES[state])
    ingest(KEY)
    clean, handed = content(KEY), load(KEY)

    def work() -> None:
        repairing.mend.__globals__["_note"] = die
        check_landing(copy.deepcopy(handed))

    killed(work)
    publish(check_landing(handed))
    assert content(KEY) == clean
    assert _states() == [(state, PLACE)]


@pytest.mark.parametrize("state", RULES)
def test_a_check_that_is_done_again_finds_what_it_has_noted(write: Write, state: str) -> None:
    """Killed between check and publication."""
    write(rule=RULES[state])
    ingest(KEY)
    clean, handed = content(KEY), load(KEY)
    check_landing(copy.deepcopy(handed))
    publish(check_landing(handed))
    assert content(KEY) == clean
    assert last(KEY)["facts"]["rules_weather"]["rule"]["rows"] == 1
    assert query("select count(*) as n from landing.repaired where partition_key = %s", KEY) == [{"n": 0}]


def test_the_list_has_counts_shares_and_an_example(write: Write) -> None:
    done = CliRunner().invoke(main, ["quarantine", "list", "--partition", KEY])
    assert [cell.strip() for cell in done.output.splitlines()[3].split("│")[1:7]] == ["weather", KEY, "held", "1", "0.050%", WIND]
    assert "wind_speed 1048.36058" in done.output
    assert f"held, of what landed: weather: {KEY} 0.050%" in done.output
    (group,) = held.groups("weather", KEY)
    assert (group["rows"], group["landed"], group["share"]) == (1, 2010, 1 / 2010)
    assert group["sample"]["values"] == {"wind_speed": 1048.36058}
    assert held.groups("flights", KEY) == []
    # as Prometheus has it: of each table's newest partition
    newest = {rate["source_table"]: rate["rate"] for rate in held.rates()}
    metric = query(queries()["flightdeck_quarantine_rate"]["query"])
    assert {row["source_table"]: row["value"] for row in metric} == newest
    assert "weather" in newest
    write(decimal=CURE)
    ingest(KEY)
    (group,) = held.groups("weather", KEY)
    assert (group["state"], group["rule"], group["sample"]["repaired"]) == ("replayed", "decimal", {"wind_speed": 10.4836058})
    assert next(rate["rate"] for rate in held.rates("weather") if rate["partition_key"] == KEY) == 0
    assert CliRunner().invoke(main, ["quarantine", "list", "--table", "nothing"]).output == "nothing is in quarantine\n"


def test_what_could_not_be_read_is_said_to_be_out_of_reach(write: Write) -> None:
    write(all=SAID | {"where": "true", "set": {"wind_speed": "0"}})
    handed = load(KEY)
    with connect() as connection:
        connection.execute("insert into landing.rejected values ('weather', %s, %s, '{\"wind_speed\": \"much\"}', 'no number')", (KEY, handed["number"]))
    handed["facts"]["landed_weather"] += 1
    publish(check_landing(handed))
    done = CliRunner().invoke(main, ["quarantine", "repair"])
    assert done.output.splitlines()[-1] == "1 held row(s) could not be read at all: no rule reaches them, only their source, or the contract"
    assert CliRunner().invoke(main, ["quarantine", "list"]).exit_code == 0
