"""A Singer tap, as Stitch and Meltano run them → landing.weather: what the command of the variable SINGER_TAP writes to its standard output.

In the command, `{month}`, `{start}`, `{end}` and `{as_of}` stand for the partition's; of SINGER_CONFIG, if set, a tap gets the same as a file by `--config`.
"""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from jsonschema import Draft7Validator

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.adapters.rows import belongs, landed
from ingestion.contract import Reading, SourceError, hints

TABLE = "weather"
BATCH_ROWS = 5000


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()[TABLE]))
    def rows() -> Iterator[pa.Table]:
        place, found = f"singer, {TABLE} of {reading.partition.key}", records(reading)
        while batch := list(islice(found, BATCH_ROWS)):
            yield landed(reading, TABLE, batch, place)

    return [rows]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Records of the partition that were recorded after `after` and up to `as_of`: the tap is run for it, a tap cannot count."""
    reading = Reading(partition, as_of)
    return sum(belongs(reading, TABLE, record, after) for record in records(reading))


def records(reading: Reading) -> Iterator[dict[str, Any]]:
    """The records of one run, each as its stream's schema says. Raises SourceError if one is not, if one comes twice, or if the tap fails, at its end at the latest."""
    place = f"singer, {TABLE} of {reading.partition.key}"
    validator, seen = None, set()
    for number, line in enumerate(lines(filled(os.environ.get("SINGER_TAP", ""), reading), os.environ.get("SINGER_CONFIG"), reading, place), 1):
        message = decoded(line, f"{place}, message {number}")
        if message.get("stream") != TABLE or message["type"] not in ("SCHEMA", "RECORD"):
            continue  # another stream's, or a state: each partition is read as a whole, so there is nothing to remember
        if message["type"] == "SCHEMA":
            validator = Draft7Validator(message["schema"])
            continue
        if validator is None:
            raise SourceError(f"{place}, message {number}: a record before its schema")
        if fault := next(validator.iter_errors(message["record"]), None):
            raise SourceError(f"{place}, message {number}: out of schema, {fault.json_path}: {fault.message[:200]}")
        # a page sent twice may stand in the place of another: it is no copy to settle
        if (content := json.dumps(message["record"], sort_keys=True)) in seen:
            key = {name: message["record"].get(name) for name in contracts()[TABLE].key}
            raise SourceError(f"{place}, message {number}: sent before, a page is repeated: {key}")
        seen.add(content)
        yield message["record"]


def decoded(line: bytes, place: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{place}: {error}") from error
    if not isinstance(message, dict) or "type" not in message:
        raise SourceError(f"{place}: {str(message)[:200]} is no message")
    return message


def filled(text: str, reading: Reading) -> str:
    """The text with the partition's values in their places."""
    times = {"start": reading.partition.start, "end": reading.partition.end, "as_of": reading.as_of}
    for name, at in times.items():
        text = text.replace(f"{{{name}}}", at.astimezone(UTC).isoformat())
    return text.replace("{month}", reading.partition.key)


def lines(command: str, config: str | None, reading: Reading, place: str) -> Iterator[bytes]:
    """What the command writes; raises SourceError with its last words if it ends with an error. It does not outlive whoever reads."""
    if not command:
        raise SourceError(f"{place}: no command; set SINGER_TAP")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        arguments = shlex.split(command)
        if config:
            (path := Path(folder) / "config.json").write_text(filled(config, reading))
            arguments += ["--config", str(path)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=said)
        try:
            yield from process.stdout or ()
            if process.wait():
                said.seek(0)
                words = said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise SourceError(f"{place}: the tap ended with {process.returncode}: {words[-300:]}")
        finally:
            process.kill()
            process.wait()
