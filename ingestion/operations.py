"""The operations database → landing.flights: a SQL table, read by month and by what was recorded at `as_of`."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from dlt.sources.sql_database import sql_table

from flightdeck.contracts import contracts
from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import MERGE, Reading, SourceError, schema_contract

CHANGED = sa.text("select count(*) from flights where year = :year and month = :month and recorded_at > :after and recorded_at <= :as_of")


def resources(reading: Reading) -> list[Any]:
    """One resource of arrow tables. The month is cut by local schedule: by time_hour (UTC) both its ends would be wrong."""
    contract, start = contracts()["flights"], reading.partition.start

    def cut(table: sa.Table) -> Any:
        names = reading.columns("flights", "operations.flights", [column.name for column in table.c])
        month = sa.and_(table.c.year == start.year, table.c.month == start.month, table.c.recorded_at <= reading.as_of)
        key = sa.cast(sa.literal(reading.partition.key), sa.Text).label("partition_key")
        nothing: dict[str, Any] = {name: sa.literal_column(f"null::{column.type}").label(name) for name, column in contract.columns.items()}
        return sa.select(*(table.c[name] if name in table.c else nothing[name] for name in names), key).where(month).subquery("flights")

    try:
        flights = sql_table(
            _engine(), "flights", backend="pyarrow", chunk_size=100_000, table_adapter_callback=cut, write_disposition=MERGE, merge_key="partition_key"
        )
    except sa.exc.SQLAlchemyError as error:
        raise SourceError(f"operations, table flights: {error}") from error
    flights.apply_hints(schema_contract=schema_contract(contract))
    return [flights]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Rows of the partition that were recorded after `after` and up to `as_of`: late ones and corrections."""
    values = {"year": partition.start.year, "month": partition.start.month, "after": after, "as_of": as_of}
    try:
        with _engine().connect() as connection:
            return int(connection.execute(CHANGED, values).scalar_one())
    except sa.exc.SQLAlchemyError as error:
        raise SourceError(f"operations, changes of flights: {error}") from error


def _engine() -> sa.Engine:
    return sa.create_engine(settings().database_url("source_reader", "+psycopg2"), poolclass=sa.NullPool)
