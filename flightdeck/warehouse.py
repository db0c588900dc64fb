"""Connections to the warehouse, and its set-up."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from flightdeck.settings import Role, settings

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


def connect(role: Role = "worker") -> Connection:
    """An autocommit connection as `role`; rows come as dicts. Use `with connection.transaction()` for more than one step."""
    return psycopg.connect(settings().database_url(role), autocommit=True, row_factory=dict_row)


@contextmanager
def lock(connection: Connection, name: str) -> Iterator[None]:
    """Hold the advisory lock `name` on this connection; whoever dies lets go of it with the connection."""
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (name,))


def query(sql: LiteralString, *parameters: Any, role: Role = "worker") -> list[Row]:
    """All rows of one query, on a connection of its own."""
    with connect(role) as connection:
        return connection.execute(sql, parameters).fetchall()
