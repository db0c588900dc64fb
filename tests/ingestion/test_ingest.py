"""A real month through load, check and publish: nothing is lost, doubled or made up, however often and beside whatever it runs."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context

import pytest

from flightdeck.partitions import InvalidPartition, partition
from flightdeck.warehouse import Row, connect, query
from ingestion import operations
from ingestion.contract import Reading
from ingestion.load import load, make_batch
from tests.ingestion.months import content, ingest, ingested, last, source_flights, tries
from world.data import weather

KEY = "2013-02"
TABLES = ["flights", "weather", "planes", "airports", "airlines"]
REASON = "expect_column_values_to_be_between:wind_speed"


def _raw_and_held(table: str, columns: str, key: str) -> tuple[list[str], list[str]]:
    """The keys in raw and in quarantine, as text."""
    raw = query(f"select concat_ws('/', {columns}) as key from raw.{table} where partition_key = %s", key)  # type: ignore[arg-type]
    held = query(
        f"select concat_ws('/', {columns}) as key from quarantine.rows q, jsonb_to_record(q.row) as r (origin text, time_hour timestamptz, entity_id text)"  # type: ignore[arg-type]
        " where source_table = %s and q.partition_key = %s", table, key,
    )  # fmt: skip
    return [row["key"] for row in raw], [row["key"] for row in held]


def _assert_conserved(key: str) -> None:
    raw, held = _raw_and_held("flights", "entity_id", key)
    assert len(raw) > 20_000
    assert Counter(raw + held) == Counter(source_flights(key))
    raw, held = _raw_and_held("weather", "origin, extract(epoch from time_hour)::bigint", key)
    assert len(raw) > 2000
    assert Counter(raw + held) == Counter(f"{row['origin']}/{row['time_hour'].timestamp():.0f}" for row in weather()[key])


def test_each_row_of_the_sources_is_in_raw_or_in_quarantine_once(february: Row) -> None:
    _assert_conserved(KEY)


def test_the_ledger_counts_what_is_there(february: Row) -> None:
    facts = february["facts"]
    for table, rows in {"flights": 24_951, "weather": 2010, "planes": 3322, "airports": 1458, "airlines": 16}.items():
        assert facts[f"landed_{table}"] == rows
    for table in ("flights", "weather"):
        assert facts[f"published_{table}"] + facts[f"quarantined_{table}"] == facts[f"landed_{table}"]
    assert {name: value for name, value in facts.items() if name.startswith("quarantined_") and value} == {"quarantined_weather": 1}
    assert facts["checked_landing_weather"]["failed"] == {REASON: 1}
    assert {name: row[1] for name, row in content(KEY).items() if name not in ("quarantine", "published")} == {
        "flights": 24_951, "weather": 2009, "planes": 3322, "airports": 1458, "airlines": 16,
    }  # fmt: skip


def test_the_impossible_wind_is_held_with_its_reason_and_load(february: Row) -> None:
    held = query("select * from quarantine.rows where partition_key = %s", KEY)
    assert len(held) == 1
    row = held[0]
    assert (row["source_table"], row["expectation"], row["state"]) == ("weather", REASON, "held")
    assert row["load_id"] == february["inputs"]["stations"]
    assert row["row"]["wind_speed"] > 1048
    assert (row["row"]["origin"], row["row"]["month"], row["row"]["day"], row["row"]["hour"]) == ("EWR", 2, 12, 3)
    assert row["entity_key"] == "2013-02-12T08:00:00Z/EWR"
    # the whole row as it came, and nothing of ours that a repair would have to take out again
    assert {"row_id", "entity_id"}.isdisjoint(row["row"])
    assert query("select count(*) as n from raw.weather where wind_speed > 200") == [{"n": 0}]


def test_the_month_again_changes_nothing_but_the_ledger(february: Row) -> None:
    before, attempts = content(KEY), tries(KEY)
    again = ingest(KEY)
    assert content(KEY) == before
    assert [(attempt - attempts[-1][0], state) for attempt, state, _ in tries(KEY)[len(attempts) :]] == [(1, "started"), (1, "published")]
    assert query("select distinct _dlt_load_id as id from raw.flights where partition_key = %s", KEY) == [{"id": again["inputs"]["operations"]}]
    assert query("select count(*) as n from landing.failures where partition_key = %s", KEY) == [{"n": 0}]


def test_what_was_not_recorded_yet_is_not_read(february: Row) -> None:
    time = datetime(2013, 2, 10, 12, tzinfo=UTC)
    (flights,) = operations.resources(Reading(partition(KEY), time))
    recorded = [at for page in flights for at in page["recorded_at"].to_pylist()]
    known = query("select count(*) as n from flights where month = 2 and recorded_at <= %s", time, role="source_reader")
    assert 0 < len(recorded) == known[0]["n"] < 24_951
    assert max(recorded) <= time


def test_months_loaded_at_once_all_arrive(february: Row) -> None:
    """In processes forked from one that has imported everything, as the scheduler does it."""
    keys = ["2013-11", "2013-12"]
    started = [get_context("fork").Process(target=ingest, args=(key,)) for key in keys]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    for key in keys:
        _assert_conserved(key)
        assert last(key)["facts"]["published_weather"] == len(weather()[key])


def test_the_first_months_ever_may_make_the_views_at_once(february: Row) -> None:
    def make(_: int) -> None:
        with connect() as connection:
            for table in TABLES:
                make_batch(connection, table)

    with connect() as connection:
        connection.execute(f"drop view {', '.join(f'landing.{table}_batch' for table in TABLES)}".encode())
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(make, range(12))) == [None] * 12


def test_a_view_of_an_older_version_makes_way(february: Row) -> None:
    with connect() as connection:
        connection.execute("drop view landing.airlines_batch")
        connection.execute("create view landing.airlines_batch as select a.*, 1 as of_old from landing.airlines a")
        make_batch(connection, "airlines")
    columns = query("select column_name as name from information_schema.columns where table_name = 'airlines_batch' order by ordinal_position")
    assert [row["name"] for row in columns][:3] == ["row_id", "entity_id", "required_nulls"]


def test_reference_data_are_the_newest_month_s(february: Row) -> None:
    """A month done again brings its own flights and weather, but no older planes."""
    ingested("2013-12")
    newest = query("select distinct _dlt_load_id as id from raw.planes")
    older = ingest(KEY)
    assert query("select distinct _dlt_load_id as id from raw.planes") == newest
    assert newest != [{"id": older["inputs"]["registry"]}]
    assert "published_planes" not in older["facts"]
    assert older["facts"]["published_flights"] == 24_951


@pytest.mark.parametrize("key", ["2013-13", None, "banana"])
def test_what_is_no_month_is_not_begun(february: Row, key: str | None) -> None:
    before = query("select count(*) as n from ops.ledger")
    with pytest.raises(InvalidPartition):
        load(key)
    assert query("select count(*) as n from ops.ledger") == before
