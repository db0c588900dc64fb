"""The stage `deliver`: the marts of a published partition as Parquet in the lake, for readers that are not in the warehouse.

A file of a fixed name a mart and partition, replaced whole: who reads sees the old one or the new one. The manifest, replaced last, says what each is of.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from psycopg import IsolationLevel, sql
from pyarrow import fs

from flightdeck import ledger
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, Row, connect, lock

MANIFEST = "manifest.json"
TYPES = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "character varying": pa.string(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
COLUMNS = """
select table_name as mart, column_name as name, data_type as type
from information_schema.columns join information_schema.tables using (table_schema, table_name)
where table_schema = 'marts' and table_type = 'BASE TABLE' order by table_name, ordinal_position"""
VERSION = """
select attempt, code from ops.ledger join ops.published using (partition_key)
where stage = 'transform' and state = 'published' and partition_key = %s order by id desc limit 1"""
# as PostgreSQL writes CSV: nothing is null, and "" is an empty text
AS_WRITTEN: dict[str, Any] = {
    "null_values": [""], "strings_can_be_null": True, "quoted_strings_can_be_null": False, "true_values": ["t"], "false_values": ["f"],
}  # fmt: skip


class NotDelivered(RuntimeError):
    """The lake was left as it was; the message says why, and what to do."""


@dataclass(frozen=True)
class File:
    """A mart's partition as it will lie in the lake; without rows it has no content, and is no file."""

    path: str
    columns: dict[str, str]
    rows: int
    content: bytes

    def entry(self, version: Row) -> dict[str, Any]:
        return {"path": self.path, "rows": self.rows, "bytes": len(self.content), "sha256": hashlib.sha256(self.content).hexdigest(), **version}


def deliver(key: str | None) -> None:
    """Bring a partition's marts to the lake; the same rows give the same bytes. What has no rows any more has no file either."""
    # one at a time: nothing older is put over something newer, and no entry of the manifest is lost
    with ledger.step(ledger.begin("deliver", key)) as attempt, connect() as connection, lock(connection, "lake"):
        lake = _lake()
        version, files = _read(connection, attempt.key)
        attempt.inputs["transform"] = version["attempt"]
        attempt.facts |= {"rows": {mart: file.rows for mart, file in files.items()}, "bytes": {mart: len(file.content) for mart, file in files.items()}}
        manifest = json.loads(_content(lake, MANIFEST) or '{"marts": {}}')
        for mart, file in files.items():
            known = manifest["marts"].setdefault(mart, {"partitions": {}})
            known["columns"] = file.columns
            known["partitions"].pop(attempt.key, None)
            if file.rows:
                known["partitions"][attempt.key] = file.entry(version)
        _put(lake, {file.path: file.content for file in files.values()})
        _put(lake, {MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode()})
        attempt.record("done")


def _lake() -> fs.FileSystem:
    try:
        filesystem, root = fs.FileSystem.from_uri(settings().lake)
    except pa.ArrowInvalid:
        # the place itself is not said: it may have a password in it
        raise NotDelivered("FLIGHTDECK_LAKE names no place; it takes an absolute path or a URI such as s3://bucket/prefix") from None
    return fs.SubTreeFileSystem(root, filesystem)


def _read(connection: Connection, key: str) -> tuple[Row, dict[str, File]]:
    """(attempt and code of the transform that published it, a file a mart), of one moment. Raises NotDelivered."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        version = connection.execute(VERSION, (key,)).fetchone()
        if version is None:
            raise NotDelivered(f"{key} is not published; run `transform` for it first")
        connection.execute("set local time zone 'UTC'; set local datestyle to 'ISO'")
        marts: dict[str, dict[str, str]] = {}
        for column in connection.execute(COLUMNS):
            marts.setdefault(column["mart"], {})[column["name"]] = column["type"]
        return version, {mart: _file(mart, key, _table(connection, mart, columns, key)) for mart, columns in marts.items() if "partition_key" in columns}


def _table(connection: Connection, mart: str, columns: dict[str, str], key: str) -> pa.Table:
    """The partition's rows, ordered by all columns as bytes: no database's language changes the order."""
    if unknown := [f"{mart}.{name} ({kind})" for name, kind in columns.items() if kind not in TYPES]:
        raise NotDelivered(f"no type in the lake for {', '.join(unknown)}; cast it in the model, or add the type to TYPES in flightdeck/lake.py")
    schema = pa.schema([(name, TYPES[kind]) for name, kind in columns.items()])
    query = sql.SQL("copy (select {} from marts.{} where partition_key = %s order by {}) to stdout (format csv, header)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(mart),
        sql.SQL(", ").join(sql.SQL('{} collate "C"' if pa.types.is_string(field.type) else "{}").format(sql.Identifier(field.name)) for field in schema),
    )
    with connection.cursor().copy(query, (key,)) as copy:
        content = b"".join(copy)
    parsing = pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    return pa.csv.read_csv(pa.BufferReader(content), parse_options=parsing, convert_options=pa.csv.ConvertOptions(column_types=schema, **AS_WRITTEN))


def _file(mart: str, key: str, table: pa.Table) -> File:
    """Its content is without the key: readers take it from the folder's name, and some refuse to have it twice."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.drop_columns("partition_key"), sink, compression="zstd")
    content = sink.getvalue().to_pybytes() if len(table) else b""
    return File(f"{mart}/partition_key={key}/data.parquet", {field.name: str(field.type) for field in table.schema}, len(table), content)


def _put(lake: fs.FileSystem, files: dict[str, bytes]) -> None:
    """Replace what has changed. All are written aside before any is replaced: who is killed while it writes has changed nothing."""
    # DuckDB opens a file twice in a statement, and fails if it was replaced in between: what is the same is left alone
    changed = {path: content for path, content in files.items() if content != _content(lake, path)}
    for path, content in ((path, content) for path, content in changed.items() if content):
        if folder := path.rpartition("/")[0]:
            lake.create_dir(folder, recursive=True)
        with lake.open_output_stream(_aside(path), compression=None) as stream:
            stream.write(content)
    for path, content in changed.items():
        _replace(lake, path, content)


def _content(lake: fs.FileSystem, path: str) -> bytes:
    """Empty when there is no such file."""
    try:
        with lake.open_input_stream(path, compression=None) as stream:
            return stream.read()  # type: ignore[no-any-return]
    except FileNotFoundError:
        return b""


def _aside(path: str) -> str:
    """Beside the file, under a name that readers of folders pass over and that no `*.parquet` matches."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}_{name}.new"


def _replace(lake: fs.FileSystem, path: str, content: bytes) -> None:
    if content:
        lake.move(_aside(path), path)
    else:
        lake.delete_dir(path.rpartition("/")[0])
