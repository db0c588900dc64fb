"""The one feature row: its order, its missing values, its codes."""

import math
from datetime import datetime

import pytest

from ml.features import FEATURES, WEATHER, code, from_request, row

DEPARTURE = datetime(2013, 4, 1, 5, 15)  # noqa: DTZ001 (local, a Monday)
INSTANCE = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weather": {"temp": 39.0}}


def test_a_row_has_the_order_of_the_features() -> None:
    values = {name: float(number) for number, name in enumerate(FEATURES)}
    assert row(dict(reversed(values.items()))) == [float(number) for number in range(len(FEATURES))]
    assert len(FEATURES) == len(set(FEATURES))


def test_what_is_null_or_absent_is_nan_and_zero_is_not() -> None:
    found = dict(zip(FEATURES, row({"distance": None, "precip": 0, "temp": 39}), strict=True))
    assert math.isnan(found["distance"])
    assert found["precip"] == 0.0
    assert found["temp"] == 39.0
    assert sum(map(math.isnan, found.values())) == len(FEATURES) - 2


def test_a_request_gives_exactly_the_features() -> None:
    found = from_request(INSTANCE, DEPARTURE, (1999.0, 182.0), (4, 800), 1400.0)
    assert set(found) == set(FEATURES)
    assert found["minute_of_day"] == 5 * 60 + 15
    assert found["day_of_week"] == 1.0
    assert found["route_air_time"] == 200.0
    assert {name: found[name] for name in WEATHER if found[name] is not None} == {"temp": 39.0}


@pytest.mark.parametrize("route", [None, (0, 0)])
def test_a_route_that_nobody_flew_has_no_air_time(route: tuple[int, int] | None) -> None:
    assert from_request(INSTANCE, DEPARTURE, (None, None), route, None)["route_air_time"] is None


def test_codes_differ_where_the_texts_do() -> None:
    texts = ["UA", "AU", "0A", "A", "", "B6", "6B", "EWR", "JFK", "LGA", "ZZZ"]
    assert len({code(text) for text in texts}) == len(texts)
    assert code("B6") == 12 * 37 + 7
