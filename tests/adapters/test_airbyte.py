"""A declarative source, run by Airbyte's CDK → the same raw rows; a run that fails leaves the partition as it was, and says why."""

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
from ingestion.adapters import airbyte
from ingestion.contract import Reading, SourceError
from tests.adapters.conftest import KEY
from tests.adapters.through import Body, Stations, raw, unpublished
from tests.ingestion.months import ingest

LOCK = "ingestion/adapters/requirements-airbyte.lock"
UNREAD = "2013-07"


@pytest.fixture
def source(environment: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, chosen: Callable[[str, str], None]) -> Callable[[str], None]:
    """Makes the source read the API at an address."""

    def read(url: str) -> None:
        chosen("stations", "ingestion.adapters.airbyte")
        command = [str(environment(LOCK).with_name("source-declarative-manifest")), "read"]
        monkeypatch.setenv("AIRBYTE_SOURCE", shlex.join([*command, "--manifest-path", str(ROOT / "tests/adapters/airbyte_stations.yaml")]))
        monkeypatch.setenv("AIRBYTE_CONFIG", json.dumps({"url": url, "month": "{month}", "as_of": "{as_of}"}))

    return read


def test_a_month_through_the_source_is_the_same_in_raw(ours: dict[str, Any], source: Callable[[str], None]) -> None:
    month, after, as_of = partition(KEY), datetime(2013, 1, 20, 7, tzinfo=UTC), datetime(2013, 1, 21, 9, tzinfo=UTC)
    expected = stations.changed(month, after, as_of)
    source(settings().url("world"))
    row = ingest(KEY)
    assert row["facts"]["landed_weather"] > 2000
    assert "schema_changes" not in row["facts"]
    assert raw(KEY) == ours
    assert query("select distinct _dlt_load_id as id from raw.weather where partition_key = %s", KEY) == [{"id": row["inputs"]["stations"]}]
    assert airbyte.changed(month, after, as_of) == expected > 50


def test_a_source_that_fails_leaves_the_month_unpublished_and_a_retry_completes_it(source: Callable[[str], None], bad_stations: Stations) -> None:
    source(bad_stations.url)
    first: list[Body] = []

    def again(page: int, body: Body) -> tuple[int, Body]:
        first.extend([body] if page == 1 else [])
        return 200, body | {"data": first[0]["data"]} if page == 2 else body

    for fault, reason in (
        (lambda page, body: (404, {"error": "gone"}) if page == 2 else (200, body), "message [0-9]+: .*404"),
        (lambda page, body: (200, body | {"data": [row | {"temp": "cold"} for row in body["data"]]}), "rows of weather cannot be read.*'cold' is not a number"),
        (again, "sent before, a page is repeated: .*2013-07"),
    ):
        bad_stations.fault = fault  # type: ignore[assignment,method-assign]
        unpublished(UNREAD, f"(?s){reason}")
    bad_stations.fault = lambda page, body: (200, body)  # type: ignore[method-assign]
    assert ingest(UNREAD)["facts"]["published_weather"] > 2000


def test_a_stream_that_is_not_complete_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trace = {"type": "STREAM_STATUS", "stream_status": {"stream_descriptor": {"name": "weather"}, "status": "INCOMPLETE"}}
    for said, status in (("", "never told"), (json.dumps({"type": "TRACE", "trace": trace}), "INCOMPLETE")):
        (script := tmp_path / "source").write_text(f"#!/bin/sh\ncat <<'END'\n{said or json.dumps({'type': 'LOG'})}\nEND\n")
        script.chmod(0o700)
        monkeypatch.setenv("AIRBYTE_SOURCE", str(script))
        with pytest.raises(SourceError, match=f"airbyte, weather of 2013-01: the stream is not complete, its status: {status}"):
            list(airbyte.records(Reading(partition(KEY), partition(KEY).closes)))


def test_without_a_command_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRBYTE_SOURCE", raising=False)
    with pytest.raises(SourceError, match="AIRBYTE_SOURCE says which"):
        list(airbyte.records(Reading(partition(KEY), partition(KEY).closes)))
