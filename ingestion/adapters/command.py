"""A command that reads a source, and tells it on its standard output, a JSON message a line: Singer's taps, Airbyte's sources."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

from ingestion.contract import Reading, SourceError


def messages(command: str, files: dict[str, str], reading: Reading, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(its place, the message) of each line. Raises SourceError where one is no message; if the command ends with an error, with its last words.

    In the command and in `files`, which it gets as `--<name> <path>`, `{month}`, `{start}`, `{end}` and `{as_of}` stand for the partition's.
    """
    for number, line in enumerate(_lines(command, files, reading, place), 1):
        try:
            message = json.loads(line)
        except ValueError as error:
            raise SourceError(f"{place}, message {number}: {error}") from error
        if not isinstance(message, dict) or "type" not in message:
            raise SourceError(f"{place}, message {number}: {str(message)[:200]} is no message")
        yield f"{place}, message {number}", message


def once(record: dict[str, Any], seen: set[str], key: list[str], place: str) -> dict[str, Any]:
    """The record, unless this run has told it before: a page that is sent twice may stand in the place of another, and is no copy to settle."""
    if (content := json.dumps(record, sort_keys=True)) in seen:
        raise SourceError(f"{place}: sent before, a page is repeated: { {name: record.get(name) for name in key} }")
    seen.add(content)
    return record


def _filled(text: str, reading: Reading) -> str:
    times = {"start": reading.partition.start, "end": reading.partition.end, "as_of": reading.as_of}
    for name, at in times.items():
        text = text.replace(f"{{{name}}}", at.astimezone(UTC).isoformat())
    return text.replace("{month}", reading.partition.key)


def _lines(command: str, files: dict[str, str], reading: Reading, place: str) -> Iterator[bytes]:
    """What the command writes. It does not outlive whoever reads."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        arguments = shlex.split(_filled(command, reading))
        for name, text in files.items():
            (path := Path(folder) / f"{name}.json").write_text(_filled(text, reading))
            arguments += [f"--{name}", str(path)]
        try:
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            raise SourceError(f"{place}: {error}") from error
        try:
            yield from process.stdout or ()
            if process.wait():
                said.seek(0)
                words = said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise SourceError(f"{place}: the command ended with {process.returncode}: {words[-300:]}")
        finally:
            process.kill()
            process.wait()
