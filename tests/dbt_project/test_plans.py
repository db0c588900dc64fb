"""What is planned: built on its own, before any flight of the month, and left alone by the month's build."""

from collections.abc import Iterator

import pytest

from expectations.check import CheckFailed, check_marts
from flightdeck import ledger
from flightdeck.transform import BuildFailed, build, plan
from flightdeck.warehouse import Connection, Row, connect, query
from tests.dbt_project.months import REAL

KEY = "2015-03"
INSERT = """
insert into raw.timetable (partition_key, entity_id, year, month, day, sched_dep_time, sched_arr_time, carrier, flight, tailnum, origin, dest, distance,
    hour, minute, time_hour, published_at, _dlt_load_id)
values (%s, %s, 2015, 3, 5, %s, 30, 'UA', 1, %s, 'EWR', 'ORD', 719, %s, %s, %s::timestamp at time zone 'America/New_York', '2015-02-15', 'test')"""


@pytest.fixture
def timetable(database: str) -> Iterator[Connection]:
    """The timetable of a month of which no flight has flown: three departures of one aircraft, and one of none."""
    with connect() as connection:
        for entity, tailnum, hour, minute in (("a", "N1", 6, 0), ("b", "N1", 6, 40), ("c", "N1", 23, 30), ("d", None, 6, 59)):
            connection.execute(INSERT, (KEY, f"{KEY}/{entity}", hour * 100 + minute, tailnum, hour, minute, f"2015-03-05 {hour:02}:00"))
        yield connection
        connection.execute("delete from raw.timetable where partition_key = %s", (KEY,))
        connection.execute("delete from marts.planned_departures where partition_key = %s", (KEY,))


def _planned() -> list[tuple[int | None, ...]]:
    rows = query("select * from marts.planned_departures where partition_key = %s order by entity_id", KEY)
    return [(row["planned_clock_minutes"], row["departures_hour"], row["departures_day"], row["leg"], row["minutes_since_leg"]) for row in rows]


def test_a_plan_needs_nothing_but_its_timetable(timetable: Connection) -> None:
    plan(KEY)
    assert _planned() == [(1110, 3, 4, 1, None), (1070, 3, 4, 2, 40), (60, 1, 4, 3, 1010), (1051, 3, 4, None, None)]
    done = ledger.last("plan", KEY)
    assert done is not None
    assert done["facts"]["rows"] == {"planned_departures": 4}
    assert done["facts"]["tests"] >= 4


def test_a_revised_plan_replaces_the_one_before(timetable: Connection) -> None:
    plan(KEY)
    timetable.execute("delete from raw.timetable where entity_id = %s", (f"{KEY}/a",))
    plan(KEY)
    assert _planned() == [(1070, 2, 3, 1, None), (60, 1, 3, 2, 1010), (1051, 2, 3, None, None)]


def test_a_timetable_that_came_too_late_is_no_plan(timetable: Connection) -> None:
    before = ledger.last("plan", KEY)
    timetable.execute("update raw.timetable set published_at = '2015-03-01T05:00:01Z' where entity_id = %s", (f"{KEY}/a",))
    with pytest.raises(BuildFailed, match="timetable_is_published_before_its_partition"):
        plan(KEY)
    assert ledger.last("plan", KEY) == before


def test_every_flight_of_a_real_month_was_planned(real: Row) -> None:
    found = query("select count(*) as n, count(departures_day) as planned, count(leg) as legs from marts.features where partition_key = %s", REAL)[0]
    assert found["n"] == found["planned"] == 27_268
    assert 26_000 < found["legs"] < found["n"]


def test_the_month_s_build_leaves_the_plan_alone(small: str) -> None:
    version = "select xmin::text as version, entity_id from marts.planned_departures where partition_key = %s order by 2"
    before = query(version, small)
    assert len(before) == 5
    build(small)
    assert query(version, small) == before


def test_a_month_without_its_plan_is_not_published(small: str) -> None:
    query("delete from marts.planned_departures where partition_key = %s returning 1", small)
    built = build(small)
    assert built["facts"]["warnings"]["flights_missing_from_the_timetable"] == 5
    with pytest.raises(CheckFailed, match="not_be_null:departures_hour"):
        check_marts(built)
    assert small not in ledger.published()
