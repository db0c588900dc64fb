"""The weather stations' API: pages, what was known at `as_of`, and bad questions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from flightdeck.settings import settings
from world.data import weather

pytestmark = pytest.mark.usefixtures("database")
CLOSED = "2013-03-03T05:00:00Z"


def _get(parameters: dict[str, Any], path: str = "/weather") -> httpx.Response:
    return httpx.get(settings().url("world") + path, params=parameters)


def _page(**parameters: Any) -> dict[str, Any]:
    answer = _get({"month": "2013-02", "as_of": CLOSED, "limit": 1000} | parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("limit", [1, 700, 1000, 2010, 10_000])
def test_pages_hold_each_observation_of_the_month_once(limit: int) -> None:
    first = _page(limit=limit)
    total, pages = first["total"], first["pages"]
    assert (total, pages) == (2010, -(-2010 // limit))
    # of the smallest pages, the seams at both ends are enough
    numbers = range(1, pages + 1) if pages < 10 else [1, 2, pages - 1, pages]
    sent = [row for page in numbers for row in _page(limit=limit, page=page)["data"]]
    months = [row | {name: row[name].isoformat() for name in ("time_hour", "recorded_at")} for row in weather()["2013-02"]]
    assert sent == (months if pages < 10 else months[:2] + months[-2:])
    assert _page(limit=limit, page=pages + 1)["data"] == []


def test_each_month_holds_only_its_own_local_month() -> None:
    assert len(weather()) == 12
    for key, rows in weather().items():
        assert {f"{row['year']}-{row['month']:02}" for row in rows} == {key}


@pytest.mark.parametrize("as_of", ["2013-02-10T12:00:00Z", "2013-02-10T07:00:00-05:00"])
def test_what_was_not_published_yet_is_not_sent(as_of: str) -> None:
    time = datetime(2013, 2, 10, 12, tzinfo=UTC)
    found = _page(as_of=as_of, limit=10_000)
    times = [datetime.fromisoformat(row["time_hour"]) for row in found["data"]]
    everything = [row["time_hour"] for row in weather()["2013-02"]]
    assert 0 < len(times) < len(everything)
    assert max(times) == time - timedelta(hours=1)
    assert found["total"] == len(times) == sum(known <= time - timedelta(hours=1) for known in everything)


def test_each_observation_is_published_an_hour_after_its_hour() -> None:
    rows = _page(limit=10_000)["data"]
    assert len(rows) == 2010
    assert {datetime.fromisoformat(row["recorded_at"]) - datetime.fromisoformat(row["time_hour"]) for row in rows} == {timedelta(hours=1)}


@pytest.mark.parametrize(
    ("after", "as_of", "rows"),
    [
        ("2013-01-01T00:00:00Z", CLOSED, 2010),
        ("2013-02-10T11:00:00Z", "2013-02-10T12:00:00Z", 3),
        ("2013-02-10T06:00:00-05:00", "2013-02-10T12:00:00Z", 3),
        ("2013-02-10T12:00:00Z", "2013-02-10T12:00:00Z", 0),
        (CLOSED, "2013-12-31T00:00:00Z", 0),
    ],
)
def test_changes_are_the_rows_published_since(after: str, as_of: str, rows: int) -> None:
    answer = _get({"month": "2013-02", "after": after, "as_of": as_of}, "/weather/changes")
    assert (answer.status_code, answer.json()) == (200, {"rows": rows})


def test_before_the_month_nothing_is_known() -> None:
    assert _page(as_of="2013-01-15T00:00:00Z") == {"data": [], "page": 1, "pages": 1, "total": 0}


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"month": None}, "month"),
        ({"month": "2014-01"}, "month"),
        ({"month": "banana"}, "month"),
        ({"as_of": None}, "as_of"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "2013-03-03T05:00:00"}, "zone"),
        ({"page": "0"}, "page"),
        ({"page": "-1"}, "page"),
        ({"page": "one"}, "page"),
        ({"page": "9" * 5000}, "page"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": ""}, "limit"),
    ],
)
def test_a_bad_question_is_a_400_that_names_the_parameter(parameters: dict[str, Any], word: str) -> None:
    asked = {"month": "2013-02", "as_of": CLOSED} | parameters
    answer = _get({name: value for name, value in asked.items() if value is not None})
    assert answer.status_code == 400
    assert word in answer.text


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"month": None}, "month"),
        ({"month": "2014-01"}, "month"),
        ({"after": None}, "after"),
        ({"after": "yesterday"}, "after"),
        ({"after": "2013-02-10T12:00:00"}, "after needs its zone"),
        ({"as_of": None}, "as_of"),
        ({"as_of": "2013-03-03T05:00:00"}, "as_of needs its zone"),
    ],
)
def test_a_bad_question_for_changes_is_a_400_that_names_the_parameter(parameters: dict[str, Any], word: str) -> None:
    asked = {"month": "2013-02", "after": "2013-02-01T05:00:00Z", "as_of": CLOSED} | parameters
    answer = _get({name: value for name, value in asked.items() if value is not None}, "/weather/changes")
    assert answer.status_code == 400
    assert word in answer.text


def test_health_counts_the_months() -> None:
    assert httpx.get(settings().url("world") + "/health").json() == {"months": 12}
