"""A Kafka topic of events → landing.flights: a partition is a micro-batch, the topic's messages up to the watermark at which its reading began.

No offset is committed: what was read is what the ledger calls published, so a consumer that is killed has lost nothing, and reads the same when it comes again.
STREAM_CONFIG holds the client's properties as JSON, `bootstrap.servers` among them. Needs the package of requirements-stream.lock beside our own.
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.adapters.rows import belongs, landed
from ingestion.contract import Reading, Rejected, SourceError, hints

TABLE = TOPIC = "flights"
BATCH_MESSAGES = 10_000
# the client waits this long for a batch to fill, and at the end once in vain
POLL_SECONDS = 0.5
SILENCE_SECONDS = 30


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()[TABLE]))
    def rows() -> Iterator[pa.Table]:
        for records in batches(reading):
            yield landed(reading, TABLE, records, f"stream, topic {TOPIC}", not_null=True)

    return [rows]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Messages of the partition that were recorded after `after` and up to `as_of`."""
    reading = Reading(partition, as_of)
    return sum(belongs(reading, TABLE, record, after) for records in batches(reading) for record in records)


def batches(reading: Reading) -> Iterator[list[dict[str, Any]]]:
    """What the topic holds now, from its oldest message to the newest, a list a batch. Raises SourceError when the broker fails or is silent."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    # the group is named because the client asks for it, and never joined: all is assigned, and nothing committed
    own = {"group.id": f"flightdeck-{TABLE}", "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error"}
    consumer = Consumer(json.loads(os.environ.get("STREAM_CONFIG", "{}")) | own)
    try:
        topic = consumer.list_topics(TOPIC, timeout=SILENCE_SECONDS).topics[TOPIC]
        if topic.error:
            raise KafkaException(topic.error)
        ends = {number: consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=SILENCE_SECONDS) for number in topic.partitions}
        left = {number: high for number, (low, high) in ends.items() if low < high}
        consumer.assign([TopicPartition(TOPIC, number, ends[number][0]) for number in left])
        silent = 0.0
        while left:
            messages = consumer.consume(BATCH_MESSAGES, timeout=POLL_SECONDS)
            silent = 0 if messages else silent + POLL_SECONDS
            if silent >= SILENCE_SECONDS:
                raise SourceError(f"stream, topic {TOPIC}: nothing for {SILENCE_SECONDS} s, and {left} not reached")
            yield list(_records(messages, left, reading))
    except KafkaException as error:
        raise SourceError(f"stream, topic {TOPIC}: {error}") from error
    finally:
        consumer.close()


def _records(messages: list[Any], left: dict[int, int], reading: Reading) -> Iterator[dict[str, Any]]:
    """The events of these messages below the watermarks, {Kafka's partition: offset}; those that are reached leave `left`."""
    from confluent_kafka import KafkaError, KafkaException

    for message in messages:
        if message.error() and message.error().code() != KafkaError._PARTITION_EOF:
            raise KafkaException(message.error())
        number, offset = message.partition(), message.offset()
        if not message.error() and offset < left.get(number, 0) and message.value() is not None:
            yield from _event(message, reading)
        # the end is told, too: what a transaction leaves behind is an offset, and no message
        if number in left and offset + (0 if message.error() else 1) >= left[number]:
            del left[number]


def _event(message: Any, reading: Reading) -> Iterator[dict[str, Any]]:
    """The message's event. What is none is rejected, once: in the partition of the time at which it was sent."""
    try:
        event = json.loads(message.value())
        if isinstance(event, dict) and contracts()[TABLE].event_time in event:
            yield event
            return
        reason = "no event with its time"
    except ValueError as error:
        reason = str(error)
    sent = datetime.fromtimestamp(message.timestamp()[1] / 1000, reading.partition.start.tzinfo)
    if reading.partition.start <= sent < reading.partition.end:
        text = message.value().decode(errors="backslashreplace").replace("\0", "\\0")
        place = f"stream, topic {TOPIC}, partition {message.partition()}, offset {message.offset()}"
        reading.rejected.append(Rejected(TABLE, {"message": text}, f"{place}: {reason}"))
