"""The airlines' operations database: one table of flights, each row with the time it was recorded."""

from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv

from flightdeck.settings import settings
from world.data import copies, flights

TABLE = """
create table flights (
    year int not null, month int not null, day int not null, dep_time int, sched_dep_time int not null, dep_delay int, arr_time int,
    sched_arr_time int not null, arr_delay int, carrier text not null, flight int not null, tailnum text, origin text not null, dest text not null,
    air_time int, distance int not null, hour int not null, minute int not null, time_hour timestamptz not null, recorded_at timestamptz
)"""
COLUMNS = (
    "year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier, flight, tailnum, origin, dest, air_time, "
    "distance, hour, minute, time_hour"
)
# A flight that came is recorded half an hour after it left the air; one that did not, a day and six hours after its schedule.
RECORDED = """
update flights set recorded_at = time_hour + minute * interval '1 minute' + case
    when arr_delay is not null then (dep_delay + air_time + 30) * interval '1 minute' else interval '30 hours' end"""


def load() -> int:
    """Fill the database once; returns its number of rows. One transaction: a killed load leaves nothing behind."""
    with psycopg.connect(settings().database_url("world")) as connection:
        if not _one(connection, "select to_regclass('flights') is not null"):
            connection.execute(TABLE)
            fill(connection)
            connection.execute("alter table flights alter recorded_at set not null")
            connection.execute("create index on flights (year, month)")
            connection.execute("grant select on flights to source_reader")
        return int(_one(connection, "select count(*) from flights"))


def fill(connection: psycopg.Connection[Any]) -> int:
    """All flights, the enlarged world's too, into the empty table; returns their number."""
    with connection.cursor().copy(f"copy flights ({COLUMNS}) from stdin (format csv)".encode()) as copy:
        for table in copies(flights().select(COLUMNS.split(", "))):
            pa.csv.write_csv(table, content := pa.BufferOutputStream(), pa.csv.WriteOptions(include_header=False))
            copy.write(content.getvalue())
    return connection.execute(RECORDED).rowcount


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None
