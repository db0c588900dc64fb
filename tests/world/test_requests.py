"""Who asks: each flight once, two hours before, with what was observed by then."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from world.data import flights, weather
from world.requests import OBSERVED, batches

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module", params=["2013-01", "2013-03", "2013-11"])
def asked(request: pytest.FixtureRequest) -> tuple[str, list[tuple[datetime, dict[str, Any]]]]:
    """A month's (time of asking, instance); in March and November the clock changes."""
    return request.param, [(asked_at, instance) for asked_at, instances in batches(request.param) for instance in instances]


def test_each_flight_of_the_month_is_asked_for_once(asked: tuple[str, list[tuple[datetime, dict[str, Any]]]]) -> None:
    key, found = asked
    columns = [flights()[name].to_pylist() for name in ("year", "month", "day", "hour", "minute", "carrier", "flight", "origin", "dest")]
    expected = Counter(
        (f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00", *who)
        for year, month, day, hour, minute, *who in zip(*columns, strict=True)
        if f"{year}-{month:02}" == key
    )
    assert expected.total() > 20_000
    assert Counter((each["scheduled_departure"], each["carrier"], each["flight"], each["origin"], each["dest"]) for _, each in found) == expected


def test_they_ask_two_hours_before_the_hour_of_departure_in_order(asked: tuple[str, list[tuple[datetime, dict[str, Any]]]]) -> None:
    _, found = asked
    times = [time for time, _ in found]
    assert times == sorted(times)
    for time, instance in found:
        departure = datetime.fromisoformat(instance["scheduled_departure"]).replace(tzinfo=NEW_YORK)
        assert timedelta(hours=2) <= departure.astimezone(UTC) - time < timedelta(hours=3)


def test_weather_is_the_newest_of_the_day_before_the_time_of_asking(asked: tuple[str, list[tuple[datetime, dict[str, Any]]]]) -> None:
    key, found = asked
    observed = {(row["origin"], row["time_hour"]): row for rows in weather().values() for row in rows}
    seen = Counter[bool]()
    for time, instance in found:
        hours = (time - timedelta(hours=back) for back in range(24))
        newest = next((observed[instance["origin"], hour] for hour in hours if (instance["origin"], hour) in observed), None)
        seen[newest is not None] += 1
        assert instance.get("weather") == (newest and {name: newest[name] for name in OBSERVED if newest[name] is not None})
    assert seen[True] > 20_000, key


def test_what_is_not_known_is_left_out(asked: tuple[str, list[tuple[datetime, dict[str, Any]]]]) -> None:
    _, found = asked
    assert all(value is not None for _, instance in found for value in [*instance.values(), *instance.get("weather", {}).values()])
    assert any("tailnum" not in instance for _, instance in found)
    # nothing of what happened later is told
    assert {name for _, instance in found for name in instance} == {
        "carrier", "flight", "origin", "dest", "tailnum", "distance", "scheduled_departure", "weather",
    }  # fmt: skip
