"""Faults of the operations database: what each does to the table, that its reader still reads, and that `heal` undoes it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from flightdeck.settings import settings
from flightdeck.warehouse import query
from tests.world.conftest import Command
from world.__main__ import main
from world.faults import late

KEY = "2013-02"
# every row, every column's place and type, every index and every grant
STATE = """
select (select count(*) from flights) as rows, (select sum(hashtextextended(f::text, 0)::numeric) from flights f) as content,
    (select string_agg(a.attname || ' ' || a.atttypid::regtype || ' ' || a.attnotnull, ',' order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0) as columns,
    (select string_agg(indexdef, ',') from pg_indexes where tablename = 'flights') as indexes, c.oid, c.relacl::text as grants
from pg_class c where c.oid = 'flights'::regclass"""


def _source(sql: str, *values: Any) -> list[dict[str, Any]]:
    """As the platform reads it."""
    return query(sql, *values, role="source_reader")  # type: ignore[arg-type]


def _state() -> dict[str, Any]:
    with psycopg.connect(settings().database_url("world"), row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(STATE).fetchone() or {}


def _columns() -> dict[str, str]:
    rows = _source("select attname, atttypid::regtype::text as type from pg_attribute where attrelid = 'flights'::regclass and attnum > 0 and not attisdropped")
    return {row["attname"]: row["type"] for row in rows}


def _february() -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(row["time_hour"], row["carrier"], row["flight"]): row for row in _source("select * from flights where month = 2")}


@pytest.fixture(scope="module")
def original(database: str) -> dict[str, Any]:
    return _state()


@pytest.fixture
def inject(world: Command, original: dict[str, Any]) -> Iterator[Command]:
    """Injects into the database; after the test the table is exactly what it was."""
    yield lambda *arguments: world("inject", *arguments, "--source", "database")
    assert "content" in original
    assert _state() != original
    world("heal")
    assert _state() == original
    assert _source("select to_regclass('flights_before_faults') as kept") == [{"kept": None}]


def test_duplicate_rows_are_exact_copies(inject: Command) -> None:
    said = inject("duplicate_rows", KEY, "--percent", 1)
    copies = _source("select f::text as row, count(*) as n, min(month) as month from flights f group by 1 having count(*) > 1")
    assert len(copies) == 250
    assert {(row["n"], row["month"]) for row in copies} == {(2, 2)}
    assert "250 rows" in said
    assert _source("select count(*) as n from flights") == [{"n": 336_776 + 250}]


def test_late_rows_are_recorded_ten_days_after_the_closing(inject: Command) -> None:
    before = _february()
    inject("late_rows", KEY, "--percent", 2)
    after = _february()
    moved = [key for key in before if after[key]["recorded_at"] != before[key]["recorded_at"]]
    assert len(moved) == 499
    assert {after[key]["recorded_at"] for key in moved} == {late(KEY)}
    assert all(after[key] | {"recorded_at": None} == before[key] | {"recorded_at": None} for key in before)


def test_the_example_that_is_told_is_one_of_the_rows(inject: Command) -> None:
    example = inject("late_rows", KEY).split("such as ")[1].split(",")[0]
    keys = _source("select to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z/\"') || carrier || '/' || flight as key"
                   " from flights where month = 2 and recorded_at = %s", late(KEY))  # fmt: skip
    assert example in [row["key"] for row in keys]


def test_corrections_are_later_versions_with_another_value(inject: Command) -> None:
    before = _february()
    inject("corrections", KEY, "--percent", 1)
    news = _source("select * from flights where month = 2 and recorded_at >= %s", late(KEY))
    assert len({(row["time_hour"], row["carrier"], row["flight"]) for row in news}) == len(news) == 250
    for row in news:
        old = before[row["time_hour"], row["carrier"], row["flight"]]
        assert row == old | {"recorded_at": late(KEY), "arr_delay": old["arr_delay"] + 60}
    assert _source("select count(*) as n from flights where month = 2") == [{"n": 24_951 + 250}]


def test_of_corrections_out_of_order_the_newer_is_stored_first(inject: Command) -> None:
    before = _february()
    inject("corrections_out_of_order", KEY, "--percent", 1)
    news = _source("select * from flights where month = 2 and recorded_at >= %s order by ctid", late(KEY))
    assert len(news) == 500
    assert [row["recorded_at"] for row in news] == [late(KEY) + timedelta(days=1)] * 250 + [late(KEY)] * 250
    for number, row in enumerate(news):
        old = before[row["time_hour"], row["carrier"], row["flight"]]
        assert row["arr_delay"] == old["arr_delay"] + (120 if number < 250 else 60)


def test_a_new_column(inject: Command) -> None:
    before = _columns()
    inject("new_column", KEY)
    assert _columns() == before | {"gate": "text"}


def test_a_lost_column(inject: Command) -> None:
    before = _columns()
    inject("lost_column", KEY)
    assert _columns() == {name: kind for name, kind in before.items() if name != "tailnum"}


def test_a_renamed_column(inject: Command) -> None:
    before = _columns()
    inject("renamed_column", KEY)
    assert list(_columns()) == ["tail_number" if name == "tailnum" else name for name in before]


def test_a_retyped_column(inject: Command) -> None:
    before = _columns()
    inject("retyped_column", KEY)
    assert _columns() == before | {"distance": "text"}


def test_a_unit_change_of_the_month_only(inject: Command) -> None:
    miles = _february()
    assert "24951 rows" in inject("unit_change", KEY)
    km = _february()
    assert {key: row["distance"] for key, row in km.items()} == {key: round(row["distance"] * 1.609344) for key, row in miles.items()}
    assert _source("select max(distance) as most from flights where month = 3") == [{"most": 4983}]


def test_an_absurd_delay(inject: Command) -> None:
    inject("poison", KEY, "--kind", "absurd", "--percent", 0.1)
    assert _source("select month, count(*) as n from flights where arr_delay = 2000000 group by 1") == [{"month": 2, "n": 25}]


def test_a_huge_string(inject: Command) -> None:
    inject("poison", KEY, "--kind", "huge", "--percent", 0.01)
    assert _source("select month, count(*) as n from flights where length(tailnum) = 1000000 group by 1") == [{"month": 2, "n": 2}]


def test_the_seed_decides_which_rows_whatever_other_faults_there_are(inject: Command, world: Command) -> None:
    def late_rows(seed: int, *others: str) -> set[Any]:
        world("heal")
        for other in others:
            inject(other, KEY, "--percent", 10)
        inject("late_rows", KEY, "--percent", 1, "--seed", seed)
        sql = "select * from flights where month = 2 and recorded_at = %s"
        return {(row["time_hour"], row["carrier"], row["flight"]) for row in _source(sql, late(KEY))}

    first = late_rows(7)
    assert len(first) == 250
    assert late_rows(7) == first
    assert late_rows(8) != first
    assert late_rows(7, "duplicate_rows", "lost_column", "unit_change") == first


def test_a_fault_in_the_way_of_another_is_named_and_changes_nothing(inject: Command) -> None:
    inject("lost_column", KEY)
    before = _state()
    done = CliRunner().invoke(main, ["inject", "poison", KEY, "--kind", "huge", "--source", "database"])
    assert done.exit_code == 1
    assert 'column "tailnum" of relation "flights" does not exist' in done.output
    assert "`python -m world heal`" in done.output
    assert _state() == before


def test_the_world_may_start_again_while_it_has_faults(inject: Command) -> None:
    from world import database as operations

    inject("duplicate_rows", KEY)
    assert operations.load() == 336_776 + 250
