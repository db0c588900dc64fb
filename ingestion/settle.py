"""Rows of one key: the newest version stays, copies of it go, and both are counted. What contradicts itself is left for the check."""

from psycopg import sql

from flightdeck.contracts import Contract
from flightdeck.warehouse import Connection

REPEATED = "select exists (select from landing.{table} where partition_key = %(partition)s group by {key} having count(*) > 1) as repeated"
# Windows and addresses, and no join: a freshly landed partition has no statistics, and a join of it with itself took minutes.
OLDER = """
delete from landing.{table} where ctid = any(array(
    select ctid from (
        select ctid, {version} < max({version}) over (partition by {key}) as older from landing.{table} where partition_key = %(partition)s
    ) compared where older))"""
COPIES = """
delete from landing.{table} where ctid = any(array(
    select ctid from (
        select ctid, row_number() over (partition by content order by ctid) as place from (
            select ctid, to_jsonb(l) as content, count(*) over (partition by {key}) as of_key from landing.{table} l where partition_key = %(partition)s
        ) counted where of_key > 1
    ) numbered where place > 1))"""


def settle(connection: Connection, contract: Contract, partition: str) -> dict[str, int]:
    """{"superseded", "duplicates"}: rows taken out of the landed partition. Same key and version with other content stay: they are a conflict."""

    names = {"table": sql.Identifier(contract.table), "key": sql.SQL(", ").join(map(sql.Identifier, contract.key))}
    values = {"partition": partition}
    found = connection.execute(sql.SQL(REPEATED).format(**names), values).fetchone()
    if not found or not found["repeated"]:
        return {}
    with connection.transaction():
        superseded = 0
        if contract.version:
            superseded = connection.execute(sql.SQL(OLDER).format(**names, version=sql.Identifier(contract.version)), values).rowcount
        duplicates = connection.execute(sql.SQL(COPIES).format(**names), values).rowcount
    return {"superseded": superseded, "duplicates": duplicates}
