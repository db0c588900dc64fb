"""Partitions of days and of hours, by a setting: the sources' rows once, and the features and labels that they have in a month."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flightdeck import ledger
from flightdeck.launch import common
from flightdeck.settings import ROOT
from flightdeck.warehouse import query
from tests.dbt_project.months import transformed
from tests.sandbox import environment

MONTH = "2013-03"
# the clocks of the 10th skip an hour
RANGES = {"day": "2013-03-09..2013-03-10", "hour": "2013-03-09T23..2013-03-10T07"}
# what depends on the partitions before, or is counted within a day, of which an hour's plan is a part
OTHERS = {"day": {"partition_key", "history_key", "route_air_time"}}
OTHERS["hour"] = OTHERS["day"] | {"departures_day", "leg", "minutes_since_leg"}
# at night nothing flies
LANDED = {"landing.flights": [0, 1500], "landing.timetable": [0, 1500], "landing.weather": [2, 75]}
ROWS = LANDED | {f"marts.{mart}": [0, 1500] for mart in ("features", "labels", "planned_departures", "route_history")}


@pytest.fixture(scope="module")
def of_the_month(database: str) -> Iterator[dict[str, dict[str, Any]]]:
    transformed(MONTH)
    yield {
        table: {row["entity_id"]: json.loads(json.dumps(row, default=str)) for row in query(f"select * from {table} where partition_key = %s", MONTH)}  # type: ignore[arg-type]
        for table in ("marts.features", "marts.labels")
    }
    ledger.begin("transform", MONTH).record("withdrawn")


@pytest.fixture(scope="module", params=RANGES)
def made(request: pytest.FixtureRequest, database: str) -> tuple[str, dict[str, Any]]:
    """(grain, what came of the partitions) in a warehouse of their own."""
    home = tempfile.mkdtemp(prefix="fd-")
    Path(home).chmod(0o711)
    own = environment(home) | {"FLIGHTDECK_PARTITIONS": request.param, "FLIGHTDECK_EXPECTED_ROWS": json.dumps(ROWS)}
    command = [sys.executable, "-m", "tests.dbt_project.grains", RANGES[request.param]]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | common() | own, capture_output=True, text=True)
    shutil.rmtree(home)
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


def test_every_row_is_there_once_in_its_partition(made: tuple[str, dict[str, Any]], of_the_month: dict[str, dict[str, Any]]) -> None:
    grain, found = made
    assert found["published"] == found["keys"]
    assert len(found["keys"]) == {"day": 2, "hour": 8}[grain]
    assert found["quarantined"] == 0
    form = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}[grain]
    flights = {row["entity_id"]: row["partition_key"] for row in found["rows"]["raw.flights"]}
    assert len(flights) == len(found["rows"]["raw.flights"])
    expected = {}
    for entity in of_the_month["marts.features"]:
        key = datetime.fromisoformat(entity.split("/")[0]).astimezone(ZoneInfo("America/New_York")).strftime(form)
        if key in found["keys"]:
            expected[entity] = key
    assert flights == expected
    assert {row["entity_id"]: row["partition_key"] for row in found["rows"]["raw.timetable"]} == expected
    hours = {(row["origin"], row["time_hour"]): row["partition_key"] for row in found["rows"]["raw.weather"]}
    assert len(hours) == len(found["rows"]["raw.weather"]) == {"day": 3 * (24 + 23), "hour": 3 * 8}[grain]
    assert set(hours.values()) == set(found["keys"])


def test_features_and_labels_are_the_month_s(made: tuple[str, dict[str, Any]], of_the_month: dict[str, dict[str, Any]]) -> None:
    grain, found = made
    for table, month in of_the_month.items():
        rows = {row["entity_id"]: row for row in found["rows"][table]}
        assert len(rows) == len(found["rows"]["raw.flights"]) > 50
        # the first partition, or three of them, have no weather before them
        first = found["keys"][{"day": 0, "hour": 2}[grain]]
        later = {entity: row for entity, row in rows.items() if row["partition_key"] > first}
        for entity, row in later.items():
            assert {name: value for name, value in row.items() if name not in OTHERS[grain]} == {
                name: value for name, value in month[entity].items() if name not in OTHERS[grain]
            }, entity


def test_history_is_that_of_the_partition_before(made: tuple[str, dict[str, Any]]) -> None:
    _, found = made
    before = dict(zip(found["keys"][1:], found["keys"], strict=False))
    assert {row["partition_key"]: row["history_key"] for row in found["rows"]["marts.features"] if row["partition_key"] in before}.items() <= before.items()


def test_nothing_that_was_read_is_late(made: tuple[str, dict[str, Any]]) -> None:
    """A source is asked for what changed in the partition, not in its month: or every earlier day would be read again for ever."""
    assert set(made[1]["late"]) <= set(made[1]["keys"])
    assert made[1]["late"] == {}
