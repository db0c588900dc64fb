"""Rows of one key: the newest version stays, copies of it go, and both are counted. What contradicts itself is left for the check."""

from psycopg import sql

from flightdeck.contracts import Contract
from flightdeck.warehouse import Connection

REPEATED = "select count(*) > count(distinct ({key})) as repeated from landing.{table} where partition_key = %(partition)s"
OLDER = """
delete from landing.{table} l using (
    select {key}, max({version}) as newest from landing.{table} where partition_key = %(partition)s group by {key} having count(*) > 1) n
where l.partition_key = %(partition)s and ({l_key}) = ({n_key}) and l.{version} < n.newest"""
COPIES = """
delete from landing.{table} where ctid in (
    select ctid from (
        select ctid, row_number() over (partition by to_jsonb(l) order by ctid) as place from landing.{table} l
        where partition_key = %(partition)s and ({key}) in (
            select {key} from landing.{table} where partition_key = %(partition)s group by {key} having count(*) > 1)
    ) numbered where place > 1)"""


def settle(connection: Connection, contract: Contract, partition: str) -> dict[str, int]:
    """{"superseded", "duplicates"}: rows taken out of the landed partition. Same key and version with other content stay: they are a conflict."""

    def listed(prefix: str) -> sql.Composable:
        return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in contract.key)

    names = {"table": sql.Identifier(contract.table), "key": listed(""), "l_key": listed("l."), "n_key": listed("n.")}
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
