"""A tap made with the Singer SDK → the same raw rows; a run that fails leaves the partition as it was, and says why."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flightdeck.partitions import partition
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import query
from ingestion import stations
from ingestion.adapters import singer
from ingestion.contract import Reading, SourceError
from ingestion.late import changed
from tests.adapters.conftest import KEY
from tests.adapters.through import Body, Stations, raw, unpublished
from tests.ingestion.months import ingest, last

LOCK = "ingestion/adapters/requirements-singer.lock"
UNREAD = "2013-03"


@pytest.fixture
def tap(environment: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, chosen: Callable[[str, str], None]) -> Callable[[str], None]:
    """Makes the tap read the API at an address."""

    def read(url: str) -> None:
        chosen("stations", "ingestion.adapters.singer")
        monkeypatch.setenv("SINGER_TAP", shlex.join([str(environment(LOCK)), str(ROOT / "tests/adapters/tap_stations.py")]))
        monkeypatch.setenv("SINGER_CONFIG", json.dumps({"url": url, "month": "{month}", "as_of": "{as_of}"}))

    return read


def test_a_month_through_the_tap_is_the_same_in_raw(ours: dict[str, Any], tap: Callable[[str], None]) -> None:
    tap(settings().url("world"))
    before = last(KEY)["attempt"]
    row = ingest(KEY)
    assert row["attempt"] == before + 1
    assert row["facts"]["landed_weather"] > 2000
    assert raw(KEY) == ours
    assert query("select distinct _dlt_load_id as id from raw.weather where partition_key = %s", KEY) == [{"id": row["inputs"]["stations"]}]
    assert changed("2013-02") == {}


def _page_2(fault: Callable[[Body], Body], status: int = 200) -> Callable[[int, Body], tuple[int, Body]]:
    return lambda page, body: (status, fault(body)) if page == 2 else (200, body)


def test_a_tap_that_fails_leaves_the_month_unpublished_and_a_retry_completes_it(tap: Callable[[str], None], bad_stations: Stations) -> None:
    tap(bad_stations.url)
    first: list[Body] = []

    def again(page: int, body: Body) -> tuple[int, Body]:
        first.extend([body] if page == 1 else [])
        return 200, body | {"data": first[0]["data"]} if page == 2 else body

    for fault, reason in (
        (_page_2(lambda _: {"error": "gone"}, 404), "the command ended with 1: .*404"),
        (_page_2(lambda body: body | {"data": [*body["data"][:-1], body["data"][-1] | {"temp": "cold"}]}), r"message \d+: out of schema, \$\.temp: 'cold'"),
        (again, "sent before, a page is repeated: .*2013-03"),
    ):
        bad_stations.fault = fault  # type: ignore[method-assign]
        unpublished(UNREAD, f"(?s)singer, weather of 2013-03.*{reason}")
    bad_stations.fault = lambda page, body: (200, body)  # type: ignore[method-assign]
    row = ingest(UNREAD)
    through = raw(UNREAD)
    assert row["facts"]["published_weather"] == through["weather"][1] > 2000


def test_changes_are_what_our_own_source_counts(database: str, tap: Callable[[str], None]) -> None:
    month, after, as_of = partition("2013-04"), datetime(2013, 4, 20, 7, tzinfo=UTC), datetime(2013, 4, 21, 9, tzinfo=UTC)
    expected = stations.changed(month, after, as_of)
    tap(settings().url("world"))
    assert singer.changed(month, after, as_of) == expected > 50


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"type": "RECORD", "stream": "weather", "record": {}}', "message 1: a record before its schema"),
        ('{"type": "SCHEMA", "stream": "weather", "schema": {}}\n{"type": "RECORD", "stream": "wea', "message 2: "),
        ("[1, 2]", "message 1: .* is no message"),
    ],
)
def test_what_is_no_message_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch, said: str, reason: str) -> None:
    monkeypatch.delenv("SINGER_CONFIG", raising=False)
    monkeypatch.setenv("SINGER_TAP", shlex.join(["printf", "%s\n", said]))
    with pytest.raises(SourceError, match=f"singer, weather of 2013-01, {reason}"):
        list(singer.records(Reading(partition(KEY), partition(KEY).closes)))
