"""The last step of `ingest`: one short transaction that replaces the partition in raw, moves failing rows to quarantine, and says so."""

from typing import Any

from psycopg import sql

from flightdeck.ledger import Attempt, step
from flightdeck.warehouse import Connection, connect, lock_until_end
from ingestion.load import STAGES, raw_columns, tables

REPLACE = "delete from raw.{table} where partition_key = %(key)s"
# Reference data carry no partition: the newest partition's load replaces them whole.
REPLACE_WHOLE = "delete from raw.{table}"
NEWER = "select 1 from ops.ledger where stage = 'ingest' and state = 'published' and partition_key > %s limit 1"
NOTES = "landing.failures where source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s"
NOTED = f"select count(distinct row_id) as n from {NOTES}"
INSERT = (
    "insert into raw.{table} ({columns}) select {columns} from landing.{batch} where _dlt_load_id = %(load)s and row_id not in (select row_id from "
    + NOTES
    + ")"
)
# Also what an attempt before this one has repaired or waived: the sources were read anew, and this attempt's rules say what of it still holds.
RELEASE = "delete from quarantine.rows where source_table = %(table)s and partition_key = %(key)s"
HOLD = f"""
insert into quarantine.rows (source_table, partition_key, entity_key, row, expectation, load_id)
select %(table)s, %(key)s, b.entity_id, to_jsonb(l), f.expectation, b._dlt_load_id
from landing.{{batch}} b join (select row_id, string_agg(distinct expectation, ', ') as expectation from {NOTES} group by row_id) f using (row_id)
join landing.{{table}} l on l.ctid = b.row_id::tid
where b._dlt_load_id = %(load)s"""

# what a rule has repaired or let pass is published, and its row stays here as it came, with what has become of it
MENDED = "landing.repaired where source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s"
COUNT_MENDED = f"select state, rule, reason, by, count(*) as n from {MENDED} group by 1, 2, 3, 4 order by 1, 2"
KEEP_MENDED = f"""
insert into quarantine.rows (source_table, partition_key, entity_key, row, expectation, load_id, state, rule, reason, by, repaired)
select source_table, partition_key, entity_key, row, expectation, %(load)s, state, rule, reason, by, repaired from {MENDED}
and row_id in (select row_id from landing.{{batch}} where _dlt_load_id = %(load)s) and row_id not in (select row_id from {NOTES})"""

# what could not be read has no key that one could trust
HOLD_REJECTED = """
insert into quarantine.rows (source_table, partition_key, row, expectation, load_id)
select source_table, partition_key, row, reason, %(load)s from landing.rejected
where source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s"""
FORGET = "delete from landing.{} where source_table = %s and partition_key = %s and attempt <= %s"


class Lost(RuntimeError):
    """Landed, published and quarantined rows do not add up; nothing was published."""


def publish(handed: dict[str, Any]) -> None:
    """Publish the attempt that `load` began: all its tables, or none."""
    with step(Attempt(**handed)) as attempt, connect() as connection, connection.transaction():
        attempt.claim(connection)
        # reference data belong to no partition: two that replace them at once would not see each other's rows
        lock_until_end(connection, f"publish/{attempt.stage}")
        connection.execute("select set_config('flightdeck.partition', %s, true)", (attempt.key,))
        columns = raw_columns(connection)
        newer = connection.execute(NEWER, (attempt.key,)).fetchone()
        for source in STAGES[attempt.stage]:
            for table in (contract.table for contract in tables(source)):
                if "partition_key" in columns[table] or not newer:
                    _move(connection, attempt, table, columns[table], attempt.inputs[source])
                for name in ("failures", "rejected", "repaired"):
                    connection.execute(FORGET.format(name), (table, attempt.key, attempt.number))  # type: ignore[arg-type]
        attempt.record("published", connection)


def _move(connection: Connection, attempt: Attempt, table: str, columns: list[str], load_id: str) -> None:
    names = {
        "table": sql.Identifier(table),
        "batch": sql.Identifier(f"{table}_batch"),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
    }
    values = {"table": table, "key": attempt.key, "attempt": attempt.number, "load": load_id}
    connection.execute(sql.SQL(REPLACE if "partition_key" in columns else REPLACE_WHOLE).format(**names), values)
    published = connection.execute(sql.SQL(INSERT).format(**names), values).rowcount
    connection.execute(RELEASE, values)
    held = connection.execute(sql.SQL(HOLD).format(**names), values).rowcount
    noted = connection.execute(NOTED, values).fetchone()
    if noted and held != noted["n"]:
        raise Lost(f"{table} of {attempt.key}: the check noted {noted['n']} rows to hold, and {held} of them are still where they were; run it again")
    held += connection.execute(HOLD_REJECTED, values).rowcount
    attempt.facts |= _keep_mended(connection, table, names, values)
    landed, settled = attempt.facts[f"landed_{table}"], sum(attempt.facts.get(f"{what}_{table}", 0) for what in ("superseded", "duplicates"))
    if published + held + settled != landed:
        raise Lost(f"{table} of {attempt.key}: {landed} rows landed, but {published} to publish, {held} to hold and {settled} settled; run it again")
    attempt.facts |= {f"published_{table}": published, f"quarantined_{table}": held}


def _keep_mended(connection: Connection, table: str, names: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The facts of what rules have done: how many rows were repaired and waived, by which, whose, and why. Raises Lost where one of them is not published."""
    noted = connection.execute(COUNT_MENDED, values).fetchall()
    if not noted:
        return {}
    wanted, kept = sum(row["n"] for row in noted), connection.execute(sql.SQL(KEEP_MENDED).format(**names), values).rowcount
    if kept != wanted:
        raise Lost(f"{table} of {values['key']}: {wanted} rows were repaired or waived, and {kept} of them are where they were and pass; run it again")
    facts: dict[str, Any] = {f"rules_{table}": {}}
    for row in noted:
        name = f"{'repaired' if row['state'] == 'replayed' else 'waived'}_{table}"
        facts[name] = facts.get(name, 0) + row["n"]
        facts[f"rules_{table}"][row["rule"]] = {"rows": row["n"], "by": row["by"], "reason": row["reason"]}
    return facts
