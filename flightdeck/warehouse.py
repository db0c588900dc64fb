"""Connections to the warehouse, and its set-up."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from flightdeck.settings import Role, settings

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
CONNECT_SECONDS = 20


def connect(role: Role = "worker") -> Connection:
    """An autocommit connection as `role`; rows come as dicts. Use `with connection.transaction()` for more than one step."""
    # a server that is frozen, and not down, takes connections and never answers: then this is an error, too
    return psycopg.connect(settings().database_url(role), autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_SECONDS)


@contextmanager
def lock(connection: Connection, name: str) -> Iterator[None]:
    """Hold the advisory lock `name` on this connection; whoever dies lets go of it with the connection."""
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


def lock_until_end(connection: Connection, name: str) -> None:
    """Take the advisory lock `name` inside a transaction of the caller's; its end lets go of it."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def query(sql: LiteralString, *parameters: Any, role: Role = "worker") -> list[Row]:
    """All rows of one query, on a connection of its own."""
    with connect(role) as connection:
        return connection.execute(sql, parameters).fetchall()


def table(sql: str, *parameters: Any, types: "dict[str, pa.DataType] | None" = None) -> "pa.Table":
    """One query's rows as an Arrow table, by COPY: for thousands of rows and more, many times faster than rows of Python objects.

    `types` says what CSV cannot: a boolean must come as an integer.
    """
    import pyarrow as pa
    import pyarrow.csv

    with connect() as connection, connection.cursor().copy(f"copy ({sql}) to stdout (format csv, header)".encode(), parameters) as copy:
        content = b"".join(copy)
    return pa.csv.read_csv(pa.BufferReader(content), convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True))
