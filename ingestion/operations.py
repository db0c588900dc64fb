"""The operations database → landing.flights: a SQL table, read by month and by what was recorded at `as_of`."""

from typing import Any

import sqlalchemy as sa
from dlt.sources.sql_database import sql_table

from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import MERGE, SCHEMA_CONTRACT, SourceError, require_columns


def resources(partition: Partition, columns: dict[str, list[str]]) -> list[Any]:
    """One resource of arrow tables. The month is cut by local schedule: by time_hour (UTC) both its ends would be wrong."""

    def cut(table: sa.Table) -> Any:
        require_columns("operations.flights", columns["flights"], [column.name for column in table.c])
        month = sa.and_(table.c.year == partition.start.year, table.c.month == partition.start.month, table.c.recorded_at <= partition.closes)
        key = sa.cast(sa.literal(partition.key), sa.Text).label("partition_key")
        return sa.select(*(table.c[name] for name in columns["flights"]), key).where(month).subquery("flights")

    engine = sa.create_engine(settings().database_url("source_reader", "+psycopg2"))
    try:
        flights = sql_table(
            engine, "flights", backend="pyarrow", chunk_size=100_000, table_adapter_callback=cut, write_disposition=MERGE, merge_key="partition_key"
        )
    except sa.exc.SQLAlchemyError as error:
        raise SourceError(f"operations, table flights: {error}") from error
    flights.apply_hints(schema_contract=SCHEMA_CONTRACT)
    return [flights]
