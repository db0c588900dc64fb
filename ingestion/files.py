"""Files of comma-separated values, read against their contract: as a whole when all is well, row by row when a value is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from flightdeck.settings import settings
from ingestion.contract import Reading, SourceError, arrow_types, text, time

NULLS = ["NA", ""]
CSV: dict[str, Callable[[Any], Any]] = {"integer": int, "double precision": float, "text": text, "timestamp with time zone": time}


def dropped() -> Path:
    """Where the sources lay their files, in folders named by a date."""
    return settings().home / "world" / "files"


def read(path: Path, table: str, source: str, reading: Reading) -> pa.Table:
    """The file's rows, with the partition's key. Raises SourceError, which names the file."""
    place = f"{source}, file {path.name} of {path.parent.name}"
    try:
        content = path.read_bytes()
        # a file that was cut can look whole but for this
        if not content.endswith(b"\n"):
            raise SourceError(f"{place}: {'cut off in its last line' if content else 'empty'}")
        header = content.partition(b"\n")[0].decode().strip().split(",")
        names = reading.columns(table, place, header)
        rows = _rows(content, table, place, header, reading)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(f"{place}: {error}") from error
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), arrow_types(table)[name]))
    return rows.select(names).append_column("partition_key", pa.array([reading.partition.key] * len(rows), pa.string()))


def of_partition(rows: pa.Table, reading: Reading) -> pa.Table:
    """Of a month's file, the rows of the partition where that is a part of the month; those that do not say are kept, for the checks to find."""
    for name in ("day", "hour"):
        if name in reading.partition.fields:
            rows = rows.filter(pc.fill_null(pc.equal(rows[name], reading.partition.fields[name]), True))
    return rows


def _rows(content: bytes, table: str, place: str, header: list[str], reading: Reading) -> pa.Table:
    types = arrow_types(table)
    try:
        rows = _parsed(content, types)
        texts = [name for name in rows.column_names if pa.types.is_string(rows[name].type)]
        if not any(pc.any(pc.match_substring(rows[name], "\0")).as_py() for name in texts):
            return rows
    except pa.ArrowInvalid:
        # a value that is none, or bytes that are no text: then each row is looked at, and the others flow on
        pass
    raw = _parsed(content, dict.fromkeys(header, pa.binary())).to_pylist()
    good = reading.typed(table, place, [{name: _decoded(value) for name, value in row.items()} for row in raw], CSV)
    return pa.Table.from_pylist(good, schema=pa.schema({name: types.get(name, pa.string()) for name in [*types, *header]}))


def _parsed(content: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    options = pa.csv.ConvertOptions(column_types=types, null_values=NULLS, strings_can_be_null=True)
    return pa.csv.read_csv(pa.BufferReader(content), convert_options=options)


def _decoded(value: bytes | None) -> str | None:
    """None for what stands for nothing; bytes that are no UTF-8 stay visible, and no type takes them."""
    return None if value is None or value.decode(errors="replace") in NULLS else value.decode(errors="surrogateescape")
