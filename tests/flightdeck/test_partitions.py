"""Partition keys: what is one, what runs forward, and when a month closes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from flightdeck.partitions import InvalidPartition, partition, span


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
