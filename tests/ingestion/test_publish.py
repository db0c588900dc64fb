"""Publishing: all of an attempt, or nothing of it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest

from expectations.check import check_landing
from flightdeck.ledger import Attempt, begin
from flightdeck.warehouse import Row, query
from ingestion.load import load
from ingestion.publish import Lost, publish
from tests.ingestion.months import content, ingest, seen, tries

KEY = "2013-02"


@pytest.fixture
def handed(february: Row) -> Iterator[dict[str, Any]]:
    """An attempt that was loaded and checked. The test spoils it; then readers must have what they had."""
    before = seen(KEY)
    yield check_landing(load(KEY))
    assert seen(KEY) == before


def _refused(handed: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        publish(handed)
    number, state, facts = tries(KEY)[-1]
    assert (number, state) == (handed["number"], "failed")
    assert facts["error"].startswith(error.__name__)


def test_rows_that_vanished_are_lost(handed: dict[str, Any]) -> None:
    query("delete from landing.flights where partition_key = %s and dest = 'ORD' and day = 3 returning 1", KEY)
    _refused(handed, Lost, "flights of 2013-02: 24951 rows landed, but 24[0-9]+ to publish, 0 to hold and 0 settled; run it again")


def test_a_later_table_s_loss_takes_back_the_earlier_tables(handed: dict[str, Any]) -> None:
    query("delete from landing.weather where partition_key = %s and origin = 'JFK' and day = 3 and hour = 7 returning 1", KEY)
    _refused(handed, Lost, "weather of 2013-02: 2010 rows landed, but 2008 to publish, 1 to hold and 0 settled")


def test_rows_that_were_landed_anew_are_lost(handed: dict[str, Any]) -> None:
    query("update landing.flights set _dlt_load_id = 'newer' where partition_key = %s and day = 1 returning 1", KEY)
    _refused(handed, Lost, "flights of 2013-02: 24951 rows landed, but 2[0-9]+ to publish, 0 to hold and 0 settled")


def test_a_failing_row_that_moved_since_the_check_is_not_let_through(handed: dict[str, Any]) -> None:
    moved = query("update landing.weather set visib = visib where partition_key = %s and wind_speed > 1000 returning 1", KEY)
    assert len(moved) == 1
    _refused(handed, Lost, "weather of 2013-02: the check noted 1 rows to hold, and 0 of them are still where they were")


def test_two_that_replace_reference_data_at_once_wait_for_each_other(february: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has replaced them and not committed, when the second begins."""
    keys, replaced, go = ["2013-05", "2013-06"], Event(), Event()
    handed = [check_landing(load(key)) for key in keys]
    record = Attempt.record

    def hold(self: Attempt, state: str, *connection: Any) -> None:
        if self.key == keys[0] and state == "published":
            replaced.set()
            assert go.wait(30)
        record(self, state, *connection)

    monkeypatch.setattr(Attempt, "record", hold)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(publish, handed[0])
        assert replaced.wait(30)
        second = pool.submit(publish, handed[1])
        deadline = time.monotonic() + 30
        while not query("select 1 from pg_locks where not granted"):
            assert time.monotonic() < deadline
        go.set()
        first.result(30)
        second.result(30)
    assert [tries(key)[-1][1] for key in keys] == ["published", "published"]


def test_what_the_raw_table_refuses_takes_back_everything(handed: dict[str, Any]) -> None:
    query("update landing.weather set hour = 9, time_hour = '2013-02-03T14:00:00Z' where origin = 'JFK' and month = 2 and day = 3 and hour = 7 returning 1")
    _refused(handed, psycopg.errors.UniqueViolation, "weather_station_time")


def test_an_attempt_that_was_superseded_publishes_nothing(handed: dict[str, Any]) -> None:
    newer = begin("ingest", KEY)
    publish(handed)
    number, state, facts = tries(KEY)[-1]
    assert (number, state) == (handed["number"], "superseded")
    assert f"attempt {number} was superseded by attempt {newer.number}" in facts["reason"]


def test_after_all_that_the_next_try_is_right(february: Row) -> None:
    before, readers = content(KEY), seen(KEY)
    ingest(KEY)
    assert content(KEY) == before
    assert seen(KEY) != readers
