"""dbt's own tests, run; and what a build promises: one partition, whole, or as it was. The whole month is a real one."""

import json
import random
import re
from typing import Any

import jinja2
import pytest

from expectations.check import CheckFailed, check_marts
from flightdeck import ledger
from flightdeck import transform as stage
from flightdeck.settings import ROOT
from flightdeck.transform import BuildFailed, build, publish, run
from flightdeck.warehouse import Row, connect, query
from ml.features import ALPHABET, FEATURES, code
from tests.dbt_project.months import ORDER, REAL, five_flights, marts, transform
from tests.ingestion.months import source_flights

WEATHER = """
select count(*) as n, count(j.observed_at) as observed,
    count(*) filter (where j.observed_at > f.scheduled_departure - interval '2 hours') as leaked,
    count(*) filter (where j.observed_at <= f.scheduled_departure - interval '26 hours') as stale,
    count(*) filter (where exists (select from raw.weather w where w.origin = j.origin and w.time_hour > coalesce(j.observed_at, '-infinity')
        and w.time_hour <= f.scheduled_departure - interval '2 hours' and w.time_hour > f.scheduled_departure - interval '26 hours')) as newer_known
from intermediate.int_flights_joined j join staging.stg_operations__flights f using (entity_id) where j.partition_key = %s"""
UNIT_TESTS = {
    "weather_is_the_newest_two_hours_before",
    "label_and_when_it_is_known",
    "windows_count_the_plan_of_hour_day_and_aircraft",
    "history_is_as_of_the_newest_partition_published_before",
    "the_nearest_holiday_counts_and_a_week_is_the_most",
    "history_is_the_partition_and_what_was_published_before",
}


def _test(select: str, key: str) -> list[Any]:
    return run("test", "--select", select, "--no-write-json", "--vars", json.dumps({"partition": key}))


def _built(key: str) -> dict[str, list[Row]]:
    """One row a flight in each of these."""
    return {name: rows for name, rows in marts(key).items() if name not in ("marts.route_history", "marts.planned_departures")}


def _bytes(key: str) -> dict[str, bytes]:
    with connect() as connection, connection.cursor() as cursor:
        found = {}
        for name, by in ORDER.items():
            with cursor.copy(f"copy (select * from {name} where partition_key = '{key}' order by {by}) to stdout".encode()) as copy:
                found[name] = b"".join(copy)
    return found


def test_dbt_s_unit_tests_pass(database: str) -> None:
    results = run("test", "--select", "test_type:unit", "--no-write-json")
    assert {result.node.name for result in results} == UNIT_TESTS
    assert {str(result.status) for result in results} == {"pass"}


def test_dbt_s_data_tests_pass_on_a_real_month(real: Row) -> None:
    results = _test("test_type:data", REAL)
    singular = {path.stem for path in (ROOT / "dbt_project/tests").rglob("*.sql")}
    counting = {path.stem for path in (ROOT / "dbt_project/tests/counted").glob("*.sql")}
    assert len(singular) >= 15
    assert singular < {result.node.name for result in results}
    assert {result.node.name for result in results if str(result.status) != "pass"} < counting
    planned = {path.stem for path in (ROOT / "dbt_project/tests/plans").glob("*.sql")}
    assert real["facts"]["tests"] == len([result for result in results if result.node.name not in planned]) == len(results) - 2


def test_every_flight_in_raw_has_features_and_a_label(real: Row) -> None:
    flights = sorted(source_flights(REAL))
    assert len(flights) == 27_268
    for table in ("features", "labels"):
        assert [
            row["entity_id"] for row in query(f'select entity_id from marts.{table} where partition_key = %s order by entity_id collate "C"', REAL)
        ] == flights  # type: ignore[arg-type]
    assert real["facts"]["rows"]["features"] == real["facts"]["rows"]["labels"] == len(flights)


def test_a_build_uses_one_attempt_of_ingest_and_says_which(real: Row) -> None:
    source = ledger.last("ingest", REAL)
    assert source is not None
    assert real["inputs"] == {"ingest": source["attempt"]}
    assert REAL in ledger.published()


def test_weather_is_the_newest_known_two_hours_before_and_of_that_day(real: Row) -> None:
    found = query(WEATHER, REAL)[0]
    assert found["n"] == 27_268
    assert found["observed"] > 26_000
    assert (found["leaked"], found["stale"], found["newer_known"]) == (0, 0, 0)


def test_history_is_of_an_earlier_partition(real: Row) -> None:
    keys = query("select distinct history_key from marts.features where partition_key = %s", REAL)
    assert len(keys) == 1
    assert keys[0]["history_key"] == max(ledger.published(before=REAL))


def test_features_are_numbers_and_all_that_the_model_reads(real: Row) -> None:
    columns = query("select column_name, data_type from information_schema.columns where table_schema = 'marts' and table_name = 'features'")
    assert {row["column_name"] for row in columns} == {"entity_id", "partition_key", "history_key", *FEATURES}
    assert {row["data_type"] for row in columns if row["column_name"] in FEATURES} == {"double precision"}


def test_history_reaches_the_next_partition(small: str) -> None:
    """The newest published partition before is the real month; its flights count, the partition's own do not."""
    rows = query("select history_key, origin_code, dest_code, route_air_time from marts.features where partition_key = %s", small)
    assert len(rows) == 5
    assert {row["history_key"] for row in rows} == {max(ledger.published(before=small))}
    own = query(
        "select f.entity_id, (h.air_time_total::float / h.flights) as mean from raw.flights f join marts.route_history h using (origin, dest)"
        " where f.partition_key = %s and h.partition_key = %s order by 1", small, rows[0]["history_key"],
    )  # fmt: skip
    found = query("select entity_id, route_air_time as mean from marts.features where partition_key = %s order by 1", small)
    assert found == own


def test_a_partition_built_again_is_the_same_and_no_other_changes(small: str) -> None:
    before, other = marts(small), query("select count(*) as n, max(entity_id) as last from marts.features where partition_key = %s", REAL)
    assert {name: len(rows) for name, rows in before.items() if name != "marts.route_history"} == dict.fromkeys(list(ORDER)[:4], 5)
    transform(small)
    assert marts(small) == before
    assert query("select count(*) as n, max(entity_id) as last from marts.features where partition_key = %s", REAL) == other


def test_a_changed_history_reopens_the_next_partition_and_an_equal_one_does_not(small: str) -> None:
    with five_flights("2015-02", 457) as following:
        before = marts(following)
        transform(small)
        assert following not in ledger.reopened()
        one = query("select entity_id, air_time from raw.flights where partition_key = %s order by entity_id limit 1", small)[0]
        query("update raw.flights set air_time = air_time + 7 where entity_id = %s returning 1", one["entity_id"])
        assert transform(small)["outputs"] == {"reopened": [following]}
        assert following in ledger.reopened()
        assert following in ledger.standing().unfinished_before("transform", "2015-03")
        transform(following)
        assert following not in ledger.reopened()
        after = marts(following)
        assert after["marts.features"] != before["marts.features"]
        # what no history is in stays as it was
        assert {name: rows for name, rows in after.items() if name not in ("marts.features", "marts.route_history")} == {
            name: rows for name, rows in before.items() if name not in ("marts.features", "marts.route_history")
        }


def test_a_partition_is_not_built_on_one_that_is_out_of_sight(small: str) -> None:
    with five_flights("2015-02", 457) as following:
        build(small)
        with pytest.raises(BuildFailed, match="2015-01 is being built anew, and 2015-02 is built on it"):
            build(following)
        transform(small)
        transform(following)


def test_a_failing_model_leaves_the_partition_as_it_was_and_unread(small: str) -> None:
    before = marts(small)
    # an hour whose minutes no integer holds fails this model, in the middle of the build
    one = query("select min(entity_id) as id from raw.flights where partition_key = %s", small)[0]["id"]
    query("update raw.flights set hour = 40000000 where entity_id = %s returning 1", one)
    with pytest.raises(BuildFailed, match="int_flights_joined"):
        build(small)
    assert marts(small) == before
    assert small not in ledger.published()
    failed = query("select state, facts from ops.ledger where stage = 'transform' and partition_key = %s order by id desc limit 2", small)
    assert [row["state"] for row in failed] == ["failed", "withdrawn"]
    assert "int_flights_joined" in failed[0]["facts"]["error"]


def test_a_partition_that_became_empty_in_raw_is_cleared_and_not_published(small: str) -> None:
    query("delete from raw.flights where partition_key = %s returning 1", small)
    built = build(small)
    assert {name: len(rows) for name, rows in _built(small).items()} == dict.fromkeys(list(ORDER)[:3], 0)
    with pytest.raises(CheckFailed, match=f"features of {small}"):
        check_marts(built)
    assert small not in ledger.published()


def test_everything_rebuilt_from_raw_is_the_same_byte_for_byte(small: str) -> None:
    with five_flights("2015-02", 457) as later, connect() as connection:
        keys = [small, later]
        before = [_bytes(key) for key in keys]
        assert all(content for tables in before for content in tables.values())
        for name in ORDER:
            connection.execute(f"delete from {name} where partition_key = any(%s)".encode(), (keys,))
        for key in keys:
            stage.plan(key)
            transform(key)
        assert [_bytes(key) for key in keys] == before


def test_what_ingest_has_not_published_is_not_built(database: str) -> None:
    with pytest.raises(BuildFailed, match="2015-06 has not been published by ingest; run `ingest` for it first"):
        build("2015-06")
    assert query("select state from ops.ledger where stage = 'transform' and partition_key = '2015-06'")[-1] == {"state": "failed"}


def test_a_superseded_build_is_not_published(small: str) -> None:
    older = build(small)
    ledger.begin("transform", small)
    publish(older)
    assert small not in ledger.published()
    newest = query("select attempt, state from ops.ledger where stage = 'transform' and partition_key = %s order by id desc limit 1", small)
    assert newest == [{"attempt": older["number"], "state": "superseded"}]


def test_a_build_that_a_newer_one_has_overtaken_takes_nothing_out_of_sight(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has waited for the lock while the newer one was built and published."""
    older = ledger.begin("transform", small)
    publish(build(small))
    assert small in ledger.published()
    monkeypatch.setattr(ledger, "begin", lambda *_: older)
    publish(build(small))
    assert small in ledger.published()
    rows = query("select state from ops.ledger where stage = 'transform' and partition_key = %s and attempt = %s order by id", small, older.number)
    assert [row["state"] for row in rows] == ["started", "superseded"]


def test_a_command_that_dbt_refuses_is_named(database: str) -> None:
    with pytest.raises(BuildFailed, match="dbt run"):
        run("run", "--select", "staging", "--no-such-option")


def test_code_is_the_same_number_in_sql_and_in_python(real: Row) -> None:
    """The macro is rendered as dbt does it, for every code of the data and for many that are in none."""
    generator = random.Random(2013)
    letters = ALPHABET + ALPHABET.lower() + "-*. é"
    macro = re.sub(r"(?s)\{#.*?#\}", "", (ROOT / "dbt_project/macros/code.sql").read_text())
    columns = {2: ["carrier"], 3: ["origin", "dest"]}
    for length, names in columns.items():
        known = {row["code"] for name in names for row in query(f"select distinct {name} as code from raw.flights")}  # type: ignore[arg-type]
        assert len(known) > 10
        codes = sorted(known | {"".join(generator.choices(letters, k=length)) for _ in range(2000)})
        expression = jinja2.Template(macro + f"{{{{ code('text', {length}) }}}}").render()
        with connect() as connection:
            found = connection.execute(f"select text, {expression} as number from unnest(%s::text[]) as codes (text)", (codes,)).fetchall()
        assert {row["text"]: row["number"] for row in found} == {text: code(text) for text in codes}
        assert len({code(text) for text in known}) == len(known)


def test_preparing_again_keeps_what_is_there(small: str) -> None:
    before = marts(small)
    stage.prepare()
    assert marts(small) == before
