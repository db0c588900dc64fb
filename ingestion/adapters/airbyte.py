"""An Airbyte source → landing.weather: the command AIRBYTE_SOURCE, such as `source-declarative-manifest read --manifest-path <file>`, with AIRBYTE_CONFIG.

The second is JSON text, and `{month}`, `{start}`, `{end}` and `{as_of}` in both stand for the partition's.
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import dlt
import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.adapters.command import messages, once
from ingestion.adapters.rows import belongs, landed
from ingestion.contract import Reading, SourceError, hints

TABLE = "weather"
BATCH_ROWS = 5000
STREAM = {"name": TABLE, "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
# the whole of one stream: each partition is read anew, so there is no state to keep
CATALOG = json.dumps({"streams": [{"stream": STREAM, "sync_mode": "full_refresh", "destination_sync_mode": "append"}]})


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()[TABLE]))
    def rows() -> Iterator[pa.Table]:
        found = records(reading)
        while batch := list(islice(found, BATCH_ROWS)):
            yield landed(reading, TABLE, batch, f"airbyte, {TABLE} of {reading.partition.key}")

    return [rows]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Records of the partition that were recorded after `after` and up to `as_of`: the source is run for it, it cannot count."""
    reading = Reading(partition, as_of)
    return sum(belongs(reading, TABLE, record, after) for record in records(reading))


def records(reading: Reading) -> Iterator[dict[str, Any]]:
    """The records of one run. Raises SourceError if one comes twice, if the source says that it failed, or never that the stream is complete."""
    command, place = os.environ.get("AIRBYTE_SOURCE"), f"airbyte, {TABLE} of {reading.partition.key}"
    if not command:
        raise SourceError("airbyte: no command; AIRBYTE_SOURCE says which")
    status, seen, nothing = "never told", set[str](), dict.fromkeys(contracts()[TABLE].columns)
    for at, message in messages(command, {"config": os.environ.get("AIRBYTE_CONFIG", "{}"), "catalog": CATALOG}, reading, place):
        trace = message.get("trace") or {}
        if trace.get("type") == "ERROR":
            raise SourceError(f"{at}: {str(trace['error'].get('message'))[:300]}")
        if trace.get("type") == "STREAM_STATUS" and trace["stream_status"]["stream_descriptor"]["name"] == TABLE:
            status = trace["stream_status"]["status"]
        if message["type"] == "RECORD" and message["record"]["stream"] == TABLE:
            # sources leave out what is none, so that a column that was lost looks like one without values
            yield nothing | once(message["record"]["data"], seen, contracts()[TABLE].key, at)
    if status != "COMPLETE":
        raise SourceError(f"{place}: the stream is not complete, its status: {status}")
