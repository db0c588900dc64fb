"""A month's events through a Kafka client and broker (the client's own, in memory) → the same raw rows, once each, whoever dies on the way."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flightdeck import ledger
from flightdeck.contracts import contracts
from flightdeck.partitions import partition
from flightdeck.warehouse import query
from ingestion import operations
from ingestion.contract import Reading, SourceError
from ingestion.load import load
from tests.adapters.conftest import KEY
from tests.adapters.through import raw
from tests.ingestion.months import ingest, last
from tests.sandbox import die, killed

LOCK = "ingestion/adapters/requirements-stream.lock"
REPEATED, CORRECTED = 500, 40


def _events() -> list[dict[str, Any]]:
    """The month's rows and the first of the next, as the operations would have told them; some told twice, some wrong at first."""
    columns = ", ".join(contracts()["flights"].columns)
    rows = query(f"select {columns} from flights where month = 1 or (month = 2 and day = 1) order by recorded_at", role="source_reader")  # type: ignore[arg-type]
    month = [row for row in rows if row["month"] == 1]
    before = [row | {"distance": 1, "recorded_at": row["recorded_at"] - timedelta(minutes=5)} for row in month[:CORRECTED]]
    return [row | {name: row[name].astimezone(UTC).isoformat() for name in ("time_hour", "recorded_at")} for row in [*before, *rows, *month[-REPEATED:]]]


@pytest.fixture(scope="module")
def broker(database: str, environment: Callable[[str], Path]) -> Iterator[Any]:
    """A producer whose client serves a cluster of one broker, with the events on it."""
    site = next((environment(LOCK).parent.parent / "lib").glob("python*/site-packages"))
    sys.path.append(str(site))
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
    for number, event in enumerate(events := _events()):
        sent = datetime.fromisoformat(event["recorded_at"])
        producer.produce("flights", json.dumps(event).encode(), key=f"{event['carrier']}{event['flight']}", timestamp=int(sent.timestamp() * 1000))
        if number % 1000 == 0:
            producer.poll(0)
    assert len(events) > 27_000
    assert producer.flush(30) == 0
    yield producer
    sys.path.remove(str(site))


@pytest.fixture
def stream(broker: Any, chosen: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Any:
    from ingestion.adapters import stream

    servers = ",".join(f"{each.host}:{each.port}" for each in broker.list_topics(timeout=10).brokers.values())
    monkeypatch.setenv("STREAM_CONFIG", json.dumps({"bootstrap.servers": servers}))
    return stream


def test_a_month_through_the_topic_is_the_same_in_raw_and_again(ours: dict[str, Any], stream: Any, chosen: Callable[[str, str], None]) -> None:
    chosen("operations", "ingestion.adapters.stream")
    for _ in range(2):
        before = last(KEY)["attempt"]
        row = ingest(KEY)
        assert row["attempt"] == before + 1
        facts = row["facts"]
        assert (facts["duplicates_flights"], facts["superseded_flights"]) == (REPEATED, CORRECTED)
        assert facts["landed_flights"] == facts["published_flights"] + REPEATED + CORRECTED == 27_004 + REPEATED + CORRECTED
        assert raw(KEY) == ours
        assert query("select distinct _dlt_load_id as id from raw.flights where partition_key = %s", KEY) == [{"id": row["inputs"]["operations"]}]


def test_a_consumer_that_is_killed_has_lost_nothing(
    ours: dict[str, Any], stream: Any, chosen: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen("operations", "ingestion.adapters.stream")
    real, calls = stream.landed, []

    def second(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return real(*arguments, **named) if len(calls) == 1 else die()

    with monkeypatch.context() as patched:
        patched.setattr(stream, "landed", second)
        killed(lambda: load(KEY))
    assert raw(KEY) == ours
    started = ledger.begin("ingest", KEY)
    assert last(KEY)["attempt"] < started.number
    ingest(KEY)
    assert raw(KEY) == ours


def test_changes_are_what_our_own_source_counts(stream: Any) -> None:
    month, after, as_of = partition(KEY), datetime(2013, 1, 20, 7, tzinfo=UTC), datetime(2013, 1, 21, 9, tzinfo=UTC)
    assert stream.changed(month, after, as_of) == operations.changed(month, after, as_of) > 500


def test_what_is_no_event_is_rejected_once_in_the_month_that_it_was_sent_in(stream: Any, broker: Any) -> None:
    sent = datetime(2013, 1, 9, tzinfo=UTC)
    for value in (b"\xff", b"[1]", b'{"carrier": "UA"}'):
        broker.produce("flights", value, timestamp=int(sent.timestamp() * 1000), partition=0)
    assert broker.flush(10) == 0
    read = {key: Reading(partition(key), partition(key).closes) for key in (KEY, "2013-02")}
    counted = {key: sum(len(batch) for batch in stream.batches(reading)) for key, reading in read.items()}
    assert counted[KEY] == counted["2013-02"] > 27_000
    assert [row.row["message"] for row in read[KEY].rejected] == ["\\xff", "[1]", '{"carrier": "UA"}']
    assert "topic flights, partition 0, offset" in read[KEY].rejected[0].reason
    assert read["2013-02"].rejected == []


def test_a_broker_that_is_not_there_is_an_error(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_CONFIG", json.dumps({"bootstrap.servers": "127.0.0.1:1"}))
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 1)
    with pytest.raises(SourceError, match=r"stream, topic flights: .*_TRANSPORT"):
        list(stream.batches(Reading(partition(KEY), partition(KEY).closes)))
