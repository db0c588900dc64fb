"""A Singer tap, as Stitch and Meltano run them → landing.weather: the command SINGER_TAP, with the JSON text SINGER_CONFIG, if there is one, as `--config`.

`{month}`, `{start}`, `{end}` and `{as_of}` in them stand for the partition's.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import dlt
import pyarrow as pa
from jsonschema import Draft7Validator

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.adapters.command import messages, once
from ingestion.adapters.rows import belongs, landed
from ingestion.contract import Reading, SourceError, hints

TABLE = "weather"
BATCH_ROWS = 5000


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()[TABLE]))
    def rows() -> Iterator[pa.Table]:
        found = records(reading)
        while batch := list(islice(found, BATCH_ROWS)):
            yield landed(reading, TABLE, batch, f"singer, {TABLE} of {reading.partition.key}")

    return [rows]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Records of the partition that were recorded after `after` and up to `as_of`: the tap is run for it, a tap cannot count."""
    reading = Reading(partition, as_of)
    return sum(belongs(reading, TABLE, record, after) for record in records(reading))


def records(reading: Reading) -> Iterator[dict[str, Any]]:
    """The records of one run, each as its stream's schema says. Raises SourceError if one is not, if one comes twice, or if the tap fails."""
    command, config = os.environ.get("SINGER_TAP"), os.environ.get("SINGER_CONFIG")
    if not command:
        raise SourceError("singer: no command; SINGER_TAP says which")
    validator, seen = None, set[str]()
    for place, message in messages(command, {"config": config} if config else {}, reading, f"singer, {TABLE} of {reading.partition.key}"):
        # another stream's, or a state: each partition is read as a whole, so there is nothing to remember
        if message.get("stream") != TABLE or message["type"] not in ("SCHEMA", "RECORD"):
            continue
        if message["type"] == "SCHEMA":
            validator = Draft7Validator(message["schema"])
            continue
        if validator is None:
            raise SourceError(f"{place}: a record before its schema")
        if fault := next(validator.iter_errors(message.get("record")), None):
            raise SourceError(f"{place}: out of schema, {fault.json_path}: {fault.message[:200]}")
        yield once(message["record"], seen, contracts()[TABLE].key, place)
