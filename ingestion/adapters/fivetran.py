"""A table that Fivetran has delivered → landing.weather: the rows that are not marked deleted, in the columns that are not Fivetran's own.

FIVETRAN_DESTINATION is the destination's PostgreSQL URL, or the DuckDB file of `fivetran debug`, FIVETRAN_SCHEMA the connection's schema there.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import dlt
import psycopg
import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from ingestion.adapters.rows import landed
from ingestion.contract import Reading, SourceError, hints

TABLE = "weather"
BATCH_ROWS = 5000


def resources(reading: Reading) -> list[Any]:
    @dlt.resource(**hints(contracts()[TABLE]))
    def rows() -> Iterator[pa.Table]:
        place, partition = f"fivetran, table {TABLE}", reading.partition
        with closing(_connect(place)) as destination:
            _synced(destination, reading, place)
            found = _execute(destination, "*", partition, [partition.start, reading.as_of], place)
            names = [column[0] for column in found.description]
            while batch := found.fetchmany(BATCH_ROWS):
                yield landed(reading, TABLE, [_record(names, row) for row in batch], place)

    return [rows]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Rows of the partition that were recorded after `after` and up to `as_of`. Fivetran does not tell what a row was before, nor when it was deleted."""
    place = f"fivetran, changes of {TABLE}"
    with closing(_connect(place)) as destination:
        return int(_execute(destination, "count(*)", partition, [after, as_of], place).fetchone()[0])


def _connect(place: str) -> Any:
    address = os.environ.get("FIVETRAN_DESTINATION", "")
    try:
        if address.startswith("postgresql://"):
            return psycopg.connect(address)
        import duckdb

        return duckdb.connect(address, read_only=True)
    except _errors() as error:
        raise SourceError(f"{place}: {error}; FIVETRAN_DESTINATION says where it is") from error


def _query(destination: Any, query: str, values: list[Any], place: str) -> Any:
    try:
        return destination.execute(query if isinstance(destination, psycopg.Connection) else query.replace("%s", "?"), values)
    except _errors() as error:
        raise SourceError(f"{place}: {error}") from error


def _errors() -> tuple[type[Exception], ...]:
    """DuckDB is there for whoever reads its file: in the environment of development, and no other."""
    try:
        import duckdb
    except ModuleNotFoundError:
        return (psycopg.Error,)
    return psycopg.Error, duckdb.Error


def _table() -> str:
    return f'"{os.environ.get("FIVETRAN_SCHEMA", "tester")}"."{TABLE}"'


def _execute(destination: Any, what: str, partition: Partition, recorded: list[datetime], place: str) -> Any:
    """`what` of the partition's rows that were recorded after the first of two times and up to the second."""
    event, version = contracts()[TABLE].event_time, contracts()[TABLE].version
    query = f"select {what} from {_table()} where {event} >= %s and {event} < %s and {version} > %s and {version} <= %s and not _fivetran_deleted"
    return _query(destination, query, [partition.start, partition.end, *recorded], place)


def _synced(destination: Any, reading: Reading, place: str) -> None:
    """Raises SourceError if nothing was delivered since the partition closed: then some of it may still be on its way."""
    last = _query(destination, f"select max(_fivetran_synced) from {_table()}", [], place).fetchone()[0]
    if last is None or last < reading.as_of:
        raise SourceError(f"{place}: last delivered {last}, and {reading.partition.key} is read as of {reading.as_of}")


def _record(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    """The row as a message would bring it: times as text."""
    values = zip(names, row, strict=True)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values if not name.startswith("_fivetran_")}
