"""The operations database → landing.flights: a SQL table, read by partition and by what was recorded at `as_of`, one arrow table a chunk."""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import dlt
import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import ARROW, Reading, SourceError, arrow_types, hints

CHUNK_ROWS = 100_000
COLUMNS = """
select attname, format_type(atttypid, null), not attnotnull from pg_attribute
where attrelid = 'flights'::regclass and attnum > 0 and not attisdropped order by attnum"""
READ = "copy (select {columns} from flights where {rows}) to stdout (format csv)"
CHANGED = "select count(*) from flights where {rows} and recorded_at > %(after)s"
# The database's types: those of the contracts, what holds the same, and what a column that evolves may come with; any other is taken over as text.
TYPES = ARROW | {
    "smallint": ARROW["integer"], "bigint": ARROW["integer"], "real": ARROW["double precision"], "character varying": ARROW["text"],
    "character": ARROW["text"], "boolean": pa.bool_(), "date": pa.date32(), "timestamp without time zone": pa.timestamp("us"),
}  # fmt: skip


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()["flights"]))
    def flights() -> Iterator[pa.Table]:
        try:
            with _connect() as connection:
                found = {name: (kind, nullable) for name, kind, nullable in connection.execute(COLUMNS)}
                yield from _read(connection, reading, found)
        except psycopg.Error as error:
            raise SourceError(f"operations, table flights: {error}") from error

    return [flights]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Rows of the partition that were recorded after `after` and up to `as_of`: late ones and corrections."""
    try:
        with _connect() as connection:
            row = connection.execute(sql.SQL(CHANGED).format(rows=_rows(partition)), partition.fields | {"as_of": as_of, "after": after}).fetchone()
            return int(row[0]) if row else 0
    except psycopg.Error as error:
        raise SourceError(f"operations, changes of flights: {error}") from error


def _connect() -> psycopg.Connection[Any]:
    # arrow takes UTF-8 and ISO 8601 only, and no offset with seconds, as old times of other zones have it
    return psycopg.connect(settings().database_url("source_reader"), client_encoding="utf8", options="-c timezone=UTC -c datestyle=ISO")


def _rows(partition: Partition) -> sql.Composable:
    """The partition is cut by local schedule: by time_hour (UTC) both its ends would be wrong."""
    fields = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in partition.fields]
    return sql.SQL(" and ").join([*fields, sql.SQL("recorded_at <= %(as_of)s")])


def _schema(reading: Reading, found: dict[str, tuple[str, bool]]) -> pa.Schema:
    """What to read of the columns `found`, {name: (the database's type, nullable)}. Raises SourceError where the contract says stop."""
    contract, types = contracts()["flights"], arrow_types("flights")
    names = reading.columns("flights", "operations.flights", found)
    changed = [name for name in types if name in found and TYPES.get(found[name][0]) != types[name]]
    if changed:
        changes = ", ".join(f"{name} as {found[name][0]} instead of {contract.columns[name].type}" for name in changed)
        raise SourceError(f"operations.flights has column {changes}")
    # what the database says of nulls goes into dlt's schema, and from there into the landing table's
    return pa.schema([pa.field(name, types.get(name) or TYPES.get(found[name][0], pa.string()), found.get(name, ("", True))[1]) for name in names])


def _read(connection: psycopg.Connection[Any], reading: Reading, found: dict[str, tuple[str, bool]]) -> Iterator[pa.Table]:
    """The partition's rows by COPY: none of them is a Python object on the way."""
    schema = _schema(reading, found)
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    # COPY leaves a null empty, and quotes a string that is
    converting = pa.csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False, true_values=["t"], false_values=["f"]
    )
    columns = sql.SQL(", ").join(sql.Identifier(name) if name in found else sql.NULL for name in schema.names)
    query = sql.SQL(READ).format(columns=columns, rows=_rows(reading.partition))
    with connection.cursor().copy(query, reading.partition.fields | {"as_of": reading.as_of}) as copy:
        # PostgreSQL sends each row as a block of its own
        while content := b"".join(islice(copy, CHUNK_ROWS)):
            # one block, however long a row may be
            reads = pa.csv.ReadOptions(column_names=schema.names, block_size=len(content) + 1)
            try:
                table = pa.csv.read_csv(pa.BufferReader(content), reads, parsing, converting).cast(schema)
            except pa.ArrowException as error:
                place = re.sub(r"CSV column #(\d+)", lambda at: f"column {schema.names[int(at[1])]}", str(error))
                raise SourceError(f"operations.flights: {place}") from error
            yield table.append_column("partition_key", pa.repeat(reading.partition.key, len(table)))
