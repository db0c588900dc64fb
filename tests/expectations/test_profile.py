"""What is measured of a partition, by numbers computed by hand; on tables of a few odd rows."""

from collections.abc import Iterator
from datetime import date

import pytest

from expectations.profile import Profile, history, keep, measure
from flightdeck.warehouse import Connection, connect, query

COLUMNS = {"event_time": ["seen", "day"], "leave_out": ["id"]}
KEY = "2037-03"
BATCH = "landing.odd_batch"


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with connect() as connection:
        yield connection
        connection.execute(f"drop view if exists {BATCH}".encode())
        connection.execute("delete from ops.profiles where source_table = 'landing.odd'")


def _measure(connection: Connection, select: str) -> Profile:
    connection.execute(f"create or replace view {BATCH} as {select}".encode())
    return measure(connection, "landing", "odd_batch", KEY, COLUMNS)


ROWS = """select * from (values
    ('a', '2037-03-01 05:00+00'::timestamptz, '2037-03-01 07:00+00'::timestamptz, 'x', 4::bigint, 1.5::float8, true),
    ('b', '2037-03-02 04:30+00', '2037-03-02 05:30+00', 'x', 8, null, null),
    ('c', '2037-04-01 03:00+00', null, 'y', null, 4.5, false),
    ('d', null, null, null, 6, 0.0, true)) v (id, seen, recorded, kind, size, weight, fine)"""


def test_a_partition_is_measured_as_a_whole(connection: Connection) -> None:
    # March ends at local midnight: on April 1 at 04:00 UTC
    assert _measure(connection, ROWS).whole == pytest.approx({
        "rows": 4, "freshness_hours": 1.0, "lag_hours:recorded": 1.5, "share:fine=true": 2 / 3,
        "null_rate:seen": 0.25, "null_rate:recorded": 0.5, "null_rate:kind": 0.25, "null_rate:size": 0.25, "null_rate:weight": 0.25, "null_rate:fine": 0.25,
        "mean:size": 6, "min:size": 4, "max:size": 8, "mean:weight": 2, "min:weight": 0, "max:weight": 4.5,
        "distinct:kind": 2, "share:kind=x": 0.5, "share:kind=y": 0.25,
    })  # fmt: skip


def test_days_are_local_and_one_without_rows_is_a_zero(connection: Connection) -> None:
    days = _measure(connection, ROWS).days
    # 04:30 UTC on the 2nd is still the 1st in New York
    assert days["rows"] == {date(2037, 3, number): {1: 2.0, 31: 1.0}.get(number, 0.0) for number in range(1, 32)}
    assert days["mean:size"] == {date(2037, 3, 1): 6.0}
    assert days["max:weight"] == {date(2037, 3, 1): 1.5, date(2037, 3, 31): 4.5}
    assert set(days) == {"rows", "mean:size", "min:size", "max:size", "mean:weight", "min:weight", "max:weight", "share:fine=true"}


def test_no_rows_are_a_volume_of_zero(connection: Connection) -> None:
    profile = _measure(connection, f"select * from ({ROWS}) w where false")
    assert profile.whole == {"rows": 0.0, "distinct:kind": 0.0}
    assert set(profile.days["rows"].values()) == {0.0}


def test_what_is_no_number_or_too_large_is_measured_as_very_large(connection: Connection) -> None:
    values = "('NaN'::float8, 1::numeric), ('Infinity', 'NaN'), ('-Infinity', 1e300), (1e308, 2), (1e308, 3)"
    profile = _measure(connection, f"select * from (values {values}) v (heat, price)")
    assert (profile.whole["max:heat"], profile.whole["min:heat"], profile.whole["max:price"]) == (1e100, -1e100, 1e100)
    # four count as 1e100 and one as -1e100; two as 1e100
    assert (profile.whole["mean:heat"], profile.whole["mean:price"]) == pytest.approx((6e99, 4e99))
    assert profile.days == {}


def test_a_text_of_many_values_is_counted_and_not_split(connection: Connection) -> None:
    profile = _measure(connection, "select 'v' || n % 21 as many, 'v' || n % 20 as few from generate_series(1, 420) n")
    assert (profile.whole["distinct:many"], profile.whole["distinct:few"]) == (21, 20)
    assert sum(metric.startswith("share:many") for metric in profile.whole) == 0
    assert [profile.whole[f"share:few=v{n}"] for n in range(20)] == pytest.approx([0.05] * 20)


def test_odd_names_and_types_are_measured_too(connection: Connection) -> None:
    select = """select 'l''x"%s' as "pct % ""of"" it", 1 as "%(start)s", '{}'::jsonb as deep, current_date as profiled, now() as seen"""
    whole = _measure(connection, select).whole
    assert whole['share:pct % "of" it=l\'x"%s'] == 1.0
    assert whole["mean:%(start)s"] == 1.0
    assert whole["null_rate:deep"] == 0.0


def test_a_partition_done_again_has_one_profile(connection: Connection) -> None:
    first, second = _measure(connection, ROWS), _measure(connection, f"{ROWS} where id = 'a'")
    keep(connection, "landing.odd", KEY, first)
    keep(connection, "landing.odd", "2037-02", first)
    keep(connection, "landing.odd", KEY, second)
    found = history(connection, "landing.odd", KEY, 9, date.min)
    assert list(found) == ["2037-02", KEY]
    assert found[KEY].days == second.days
    assert found[KEY].whole == second.whole | {"share:kind=y": 0.0}
    assert found["2037-02"] == first


def test_a_history_has_the_newest_partitions_and_days(connection: Connection) -> None:
    profile = _measure(connection, ROWS)
    for key in ("2037-01", "2037-02", KEY, "2037-04"):
        keep(connection, "landing.odd", key, profile)
    found = history(connection, "landing.odd", KEY, 2, date(2037, 3, 30))
    assert list(found) == ["2037-02", KEY]
    assert set(found[KEY].days["rows"]) == {date(2037, 3, 30), date(2037, 3, 31)}
    assert found[KEY].whole == profile.whole


def test_readers_see_profiles_and_alerts(database: str) -> None:
    assert query("select count(*) as n from ops.profiles", role="reader")[0]["n"] >= 0
    assert query("select count(*) as n from ops.alerts", role="reader")[0]["n"] >= 0
