"""Partition keys: what is one, what runs forward, and when a month closes."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from flightdeck.partitions import FORMATS, InvalidPartition, following, key_of, looking_back, partition, span
from flightdeck.settings import settings
from flightdeck.warehouse import query


@pytest.mark.parametrize(
    "key",
    # the last is 2013-01 in Arabic digits
    ["2013-13", "2013-00", "2013-1", "", None, "banana", "2013-01-01", "2013-01\n", " 2013-01", "2013/01", "1813-01", "20\u0661\u0663-01"],
)
def test_what_is_no_month_is_refused(key: str | None) -> None:
    with pytest.raises(InvalidPartition, match="expected a month like 2013-01"):
        partition(key)


@pytest.mark.parametrize(
    ("key", "end", "closes"),
    [
        ("2013-02", "2013-03-01T05:00+00:00", "2013-03-03T05:00+00:00"),
        # daylight saving has begun in between: the month is an hour shorter
        ("2013-03", "2013-04-01T04:00+00:00", "2013-04-03T04:00+00:00"),
        ("2013-11", "2013-12-01T05:00+00:00", "2013-12-03T05:00+00:00"),
        ("2013-12", "2014-01-01T05:00+00:00", "2014-01-03T05:00+00:00"),
        # the clock goes back in the night after the month's end: still 48 hours that pass, not two days of the calendar
        ("2015-10", "2015-11-01T04:00+00:00", "2015-11-03T04:00+00:00"),
    ],
)
def test_a_month_ends_at_local_midnight_and_closes_48_hours_later(key: str, end: str, closes: str) -> None:
    found = partition(key)
    assert found.end.astimezone(UTC) == datetime.fromisoformat(end)
    assert found.closes == datetime.fromisoformat(closes)


@pytest.mark.parametrize(("key", "hours"), [("2013-02", 28 * 24), ("2013-03", 31 * 24 - 1), ("2013-11", 30 * 24 + 1)])
def test_daylight_saving_moves_a_month_s_length(key: str, hours: int) -> None:
    found = partition(key)
    assert found.end.astimezone(UTC) - found.start.astimezone(UTC) == timedelta(hours=hours)


def test_months_meet_without_gap_or_overlap() -> None:
    keys = span("2012-11..2015-02")
    assert len(keys) == 28
    assert [partition(key).end for key in keys[:-1]] == [partition(key).start for key in keys[1:]]
    assert all(earlier < later for earlier, later in pairwise(keys))


def test_a_span_holds_both_ends_and_may_be_one_month() -> None:
    assert span("2013-11..2014-02") == ["2013-11", "2013-12", "2014-01", "2014-02"]
    assert span("2013-05..2013-05") == span("2013-05") == ["2013-05"]


def test_a_span_runs_forward_only() -> None:
    with pytest.raises(InvalidPartition, match=r"2013-02\.\.2013-01 runs backwards"):
        span("2013-02..2013-01")


@pytest.mark.parametrize("months", ["", "..", "2013-01..", "..2013-01", "2013-01..2013-02..2013-03", "2013-01.2013-02", "2013-01..2013-13"])
def test_a_span_needs_one_month_or_two(months: str) -> None:
    with pytest.raises(InvalidPartition, match="expected a month like 2013-01"):
        span(months)


@pytest.fixture
def grain(setenv: Callable[..., None]) -> Callable[[str], None]:
    return lambda name: setenv(FLIGHTDECK_PARTITIONS=name)


def test_days_and_hours_are_partitions_by_a_setting(grain: Callable[[str], None]) -> None:
    grain("day")
    assert span("2013-02-27..2013-03-02") == ["2013-02-27", "2013-02-28", "2013-03-01", "2013-03-02"]
    found = partition("2013-03-10")
    assert (found.end.astimezone(UTC) - found.start.astimezone(UTC), found.fields) == (timedelta(hours=23), {"year": 2013, "month": 3, "day": 10})
    assert found.closes == datetime.fromisoformat("2013-03-13T04:00+00:00")
    for wrong in ("2013-02", "2013-02-30", "2013-02-03T04", "2013-2-03"):
        with pytest.raises(InvalidPartition, match="expected a day like 2013-01-31"):
            partition(wrong)
    grain("hour")
    assert span("2013-12-31T22..2014-01-01T01") == ["2013-12-31T22", "2013-12-31T23", "2014-01-01T00", "2014-01-01T01"]
    assert partition("2013-03-01T07").fields == {"year": 2013, "month": 3, "day": 1, "hour": 7}
    with pytest.raises(InvalidPartition, match="expected a hour like 2013-01-31T07"):
        partition("2013-03-01")


def test_an_hour_that_clocks_skip_is_none_and_one_that_they_repeat_is_one(grain: Callable[[str], None]) -> None:
    grain("hour")
    assert following("2013-03-10T01") == "2013-03-10T03"
    with pytest.raises(InvalidPartition, match="clocks in America/New_York skipped that hour"):
        partition("2013-03-10T02")
    repeated = partition("2013-11-03T01")
    assert repeated.end.astimezone(UTC) - repeated.start.astimezone(UTC) == timedelta(hours=2)
    keys = span("2013-11-02T22..2013-11-03T04")
    assert len(keys) == 7
    assert [partition(key).end.astimezone(UTC) for key in keys[:-1]] == [partition(key).start.astimezone(UTC) for key in keys[1:]]


@pytest.mark.parametrize("name", FORMATS)
def test_the_warehouse_reads_a_key_as_we_do(database: str, grain: Callable[[str], None], name: str) -> None:
    grain(name)
    zone = settings().timezone
    for moment in (datetime(2013, 3, 9, 23), datetime(2013, 3, 10, 1), datetime(2013, 11, 3, 1), datetime(2013, 12, 31, 23)):  # noqa: DTZ001 (local)
        found = partition(key_of(moment))
        (row,) = query("select ops.partition_end(%s, %s) as at", found.key, zone)
        assert row["at"] == found.end.astimezone(UTC)
        for other in (moment, moment + timedelta(hours=1), moment + timedelta(days=1), moment + timedelta(days=31)):
            values = (found.key, other.year, other.month, other.day, other.hour)
            (row,) = query("select ops.in_partition(%s, %s, %s, %s, %s) as it", *values)
            assert row["it"] is (key_of(other) == found.key)


@pytest.mark.parametrize(
    ("name", "key", "facts", "plan"),
    [
        ("month", "2013-02", "2013-03-03T05:00Z", "2013-01-20T05:00Z"),
        ("day", "2013-02-10", "2013-02-13T05:00Z", "2013-02-09T05:00Z"),
        ("hour", "2013-02-10T07", "2013-02-12T13:00Z", "2013-02-10T11:00Z"),
    ],
)
def test_a_run_comes_when_its_partition_has_closed_a_plan_s_before_it_begins(name: str, key: str, facts: str, plan: str) -> None:
    """In a process of its own, as the DAG files read the setting once."""
    code = (
        "import sys\nfrom pendulum import parse\nfrom airflow.timetables.trigger import CronPartitionTimetable\n"
        "from flightdeck.orchestration import CLOSED, PLANNED\n"
        "for when, at in ((CLOSED, sys.argv[1]), (PLANNED, sys.argv[2])):\n"
        "    print(CronPartitionTimetable(**when)._get_partition_info(parse(at))[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, facts, plan], capture_output=True, text=True, env=os.environ | {"FLIGHTDECK_PARTITIONS": name}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line == key] == [key, key], done.stdout


def test_what_looks_back_is_reached_the_next_one_at_least(grain: Callable[[str], None]) -> None:
    assert looking_back("2013-01", ["2013-02", "2013-03"], 26) == ["2013-02"]
    assert looking_back("2013-01", ["2013-03", "2013-04"], 26) == ["2013-03"]
    grain("day")
    assert looking_back("2013-01-01", span("2013-01-02..2013-01-05"), 26) == ["2013-01-02", "2013-01-03"]
    grain("hour")
    assert looking_back("2013-01-01T00", span("2013-01-01T01..2013-01-03T05"), 26) == span("2013-01-01T01..2013-01-02T02")
