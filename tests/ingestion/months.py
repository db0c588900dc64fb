"""What the tests of the data half share: a month's way through `ingest`, and what of it is in the warehouse."""

from typing import Any

from expectations.check import check_landing
from flightdeck import ledger
from flightdeck.contracts import contracts
from flightdeck.warehouse import Connection, Row, connect, query
from ingestion.load import load
from ingestion.publish import publish

SOURCE_KEYS = """
select to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '/' || carrier || '/' || flight as entity_id
from flights where to_char(make_date(year, month, 1), 'YYYY-MM') = %s"""
CONTENT = """
select 'flights' as name, md5(string_agg((to_jsonb(f) - '_dlt_load_id')::text, '' order by entity_id)) as sum, count(*) as n
from raw.flights f where partition_key = %(key)s
union all select 'weather', md5(string_agg((to_jsonb(w) - '_dlt_load_id')::text, '' order by origin, time_hour)), count(*)
from raw.weather w where partition_key = %(key)s
union all select 'planes', md5(string_agg((to_jsonb(p) - '_dlt_load_id')::text, '' order by tailnum)), count(*) from raw.planes p
union all select 'airports', md5(string_agg((to_jsonb(a) - '_dlt_load_id')::text, '' order by faa)), count(*) from raw.airports a
union all select 'airlines', md5(string_agg((to_jsonb(a) - '_dlt_load_id')::text, '' order by carrier)), count(*) from raw.airlines a
union all select 'quarantine', md5(string_agg(jsonb_build_array(source_table, entity_key, row - '_dlt_load_id', expectation, state)::text, ''
    order by source_table, entity_key)), count(*) from quarantine.rows where partition_key = %(key)s
union all select 'published', string_agg(partition_key, ' ' order by partition_key), count(*) from ops.published"""

SEEN = """
select 'flights' as name, string_agg(distinct _dlt_load_id, ' ') as loads, count(*) as n from raw.flights where partition_key = %(key)s
union all select 'weather', string_agg(distinct _dlt_load_id, ' '), count(*) from raw.weather where partition_key = %(key)s
union all select 'planes', string_agg(distinct _dlt_load_id, ' '), count(*) from raw.planes
union all select 'airports', string_agg(distinct _dlt_load_id, ' '), count(*) from raw.airports
union all select 'airlines', string_agg(distinct _dlt_load_id, ' '), count(*) from raw.airlines
union all select 'quarantine', string_agg(id::text, ' ' order by id), count(*) from quarantine.rows where partition_key = %(key)s
union all select 'published', string_agg(partition_key, ' ' order by partition_key), count(*) from ops.published"""


def ingest(key: str) -> Row:
    """Land, check and publish a month in this process; returns the ledger's row of it."""
    publish(check_landing(load(key)))
    return last(key)


def ingested(key: str) -> Row:
    """The same of a month that may be there already."""
    return ledger.last("ingest", key) or ingest(key)


def last(key: str) -> Row:
    """The ledger's newest good row of the month's ingestion."""
    row = ledger.last("ingest", key)
    assert row is not None
    return row


def content(key: str) -> dict[str, tuple[str | None, int]]:
    """A checksum and a count of everything that a month's ingestion may change, but for load ids."""
    with connect() as connection:
        return {row["name"]: (row["sum"], row["n"]) for row in connection.execute(CONTENT, {"key": key})}


def seen(key: str) -> dict[str, tuple[str | None, int]]:
    """What readers have in front of them, by load: any publishing changes it, the same content or not."""
    with connect() as connection:
        return {row["name"]: (row["loads"], row["n"]) for row in connection.execute(SEEN, {"key": key})}


def source_flights(key: str) -> list[str]:
    """The month's flights in the operations database, by key, whenever they were recorded."""
    return [row["entity_id"] for row in query(SOURCE_KEYS, key, role="source_reader")]


def tries(key: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Attempt, state and facts of each of the ledger's rows of the month's ingestion."""
    return [
        (row["attempt"], row["state"], row["facts"]) for row in query("select * from ops.ledger where stage = 'ingest' and partition_key = %s order by id", key)
    ]


def move(connection: Connection, table: str, key: str) -> int:
    """A copy of the real 2013-02 as landed, without its impossible wind, as the February `key` of a year that no data have; returns its rows."""
    connection.execute(f"create temp table month as select * from landing.{table} where partition_key = '2013-02'")
    connection.execute(f"update month set partition_key = '{key}'")
    if contracts()[table].event_time:
        connection.execute(f"update month set year = {key[:4]}, time_hour = time_hour + (timestamp '{key}-01' - timestamp '2013-02-01')")
    if table == "weather":
        connection.execute("update month set wind_speed = null where wind_speed > 253")
    rows = connection.execute(f"insert into landing.{table} select * from month").rowcount
    connection.execute("drop table month")
    return rows
