"""The one feature row: its order, its missing values, its codes."""

import math
from datetime import date, datetime

import pytest

from ml.features import FEATURES, PLANNED, WEATHER, calendar, code, days_from_holiday, from_request, row
from serving.schema import Instance

DEPARTURE = datetime(2013, 4, 1, 5, 15)  # noqa: DTZ001 (local, a Monday)
INSTANCE = Instance(carrier="UA", flight=1545, origin="EWR", dest="IAH", distance=1400.0, scheduled_departure=DEPARTURE)
UNPLANNED = [None] * len(PLANNED)


def test_a_row_has_the_order_of_the_features() -> None:
    values = {name: float(number) for number, name in enumerate(FEATURES)}
    assert row(map(values.get, FEATURES)) == [float(number) for number in range(len(FEATURES))]
    assert len(FEATURES) == len(set(FEATURES))


def test_what_is_null_or_absent_is_nan_and_zero_is_not() -> None:
    found = dict(zip(FEATURES, row(map({"distance": None, "precip": 0, "temp": 39}.get, FEATURES)), strict=True))
    assert math.isnan(found["distance"])
    assert found["precip"] == 0.0
    assert found["temp"] == 39.0
    assert sum(map(math.isnan, found.values())) == len(FEATURES) - 2


def test_a_request_gives_exactly_the_features() -> None:
    weather = [39.0, *[None] * (len(WEATHER) - 1)]
    made = from_request(INSTANCE, calendar(DEPARTURE, [date(2013, 3, 30)]), (1999.0, 182.0), (4, 800), [240.0, 20.0, 300.0, 2.0, 95.0], weather)
    found = dict(zip(FEATURES, made, strict=True))
    assert [found[name] for name in ("carrier_code", "origin_code", "dest_code")] == [code("UA"), code("EWR"), code("IAH")]
    assert (found["plane_built"], found["plane_seats"]) == (1999.0, 182.0)
    assert found["minute_of_day"] == 5 * 60 + 15
    assert found["day_of_week"] == 1.0
    assert found["days_from_holiday"] == 2.0
    assert found["distance"] == 1400.0
    assert [found[name] for name in PLANNED] == [240.0, 20.0, 300.0, 2.0, 95.0]
    assert found["route_air_time"] == 200.0
    assert {name: found[name] for name in WEATHER if found[name] is not None} == {"temp": 39.0}


@pytest.mark.parametrize("route", [None, (0, 0)])
def test_a_route_that_nobody_flew_has_no_air_time(route: tuple[int, int] | None) -> None:
    assert from_request(INSTANCE, calendar(DEPARTURE, []), (None, None), route, UNPLANNED)[FEATURES.index("route_air_time")] is None


def test_what_is_in_no_timetable_has_no_plan() -> None:
    found = from_request(INSTANCE, calendar(DEPARTURE, []), (None, None), None, UNPLANNED)
    assert all(math.isnan(value) for name, value in zip(FEATURES, row(found), strict=True) if name in PLANNED)


@pytest.mark.parametrize(
    ("day", "days"),
    [(date(2013, 7, 4), 0), (date(2013, 7, 1), 3), (date(2013, 7, 6), 2), (date(2013, 7, 8), 2), (date(2013, 7, 31), 7), (date(2030, 7, 4), 7)],
)
def test_the_nearest_holiday_counts_and_a_week_is_the_most(day: date, days: int) -> None:
    assert days_from_holiday(day, [date(2013, 7, 4), date(2013, 7, 10)]) == days
    assert days_from_holiday(day, []) == 7


def test_codes_differ_where_the_texts_do() -> None:
    texts = ["UA", "AU", "0A", "A", "", "B6", "6B", "EWR", "JFK", "LGA", "ZZZ"]
    assert len({code(text) for text in texts}) == len(texts)
    assert code("B6") == 12 * 37 + 7
