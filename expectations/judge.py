"""What a row would be by the repair rules, and whether it would then pass: its table's whole suite, on its partition as that would be."""

import re
from typing import Any

import psycopg
from psycopg import sql

from expectations.batch import CheckBroken, Outcome, trial
from flightdeck.contracts import contracts
from flightdeck.repairs import NO_WAIVER, BadRule, Rule, place
from flightdeck.settings import ROOT
from flightdeck.warehouse import Connection, Row, lock

# what a rule may repair: rows as they came, where they are, what they fail, and by and by what they become
MAKE = """
drop table if exists pg_temp.candidates;
create temp table candidates (
    id bigint generated always as identity, place text not null, entity_key text, failed text[] not null, before jsonb not null, after jsonb not null,
    rules text[] not null default '{}', waived text[] not null default '{}', fault text)"""
# PostgreSQL asks the inner select first what a name means: a column of the row can have any
APPLY = """
update candidates c set after = c.after || x.changed, rules = c.rules || %(rule)s::text
from candidates o, lateral (
    select jsonb_build_object({pairs}) as changed from jsonb_populate_record(null::landing.{table}, o.after) l where ({where}
)) x
where o.id = c.id and (%(expectation)s::text is null or %(expectation)s = any(c.failed))"""
WAIVE = """
update candidates c set waived = c.waived || x.waived, rules = c.rules || %(rule)s::text
from candidates o, lateral (
    select case when %(expectation)s::text is null then array(select unnest(o.failed) except select unnest(%(never)s::text[]))
        else array[%(expectation)s::text] end as waived
    from jsonb_populate_record(null::landing.{table}, o.after) l where ({where}
)) x
where o.id = c.id and (%(expectation)s::text is null or %(expectation)s = any(c.failed))"""
STILL = """
update candidates set fault = 'still fails ' || array_to_string(array(select unnest(failed) except select unnest(waived)), ', ')
where rules <> '{}' and not failed <@ waived"""
PROBE = "select jsonb_build_object({pairs}) from landing.{table} l where ({where}) and false"
UNCHANGED = "update candidates set fault = 'changes nothing of it' where rules <> '{}' and before = after"
FOUND = "select * from candidates where rules <> '{}' order by id"
COPY = """
drop table if exists landing.{trial} cascade;
create table landing.{trial} (like landing.{table}, candidate bigint);
insert into landing.{trial} select l.*, null from landing.{table} l where partition_key = {key} and not exists (
    select from candidates c where {meant} and c.before - '_dlt_load_id' = to_jsonb(l) - '_dlt_load_id');
insert into landing.{trial} select l.*, c.id from candidates c, lateral jsonb_populate_record(null::landing.{table}, c.after) l where {meant}"""
MEANT = sql.SQL("rules <> '{}' and fault is null")
FAILS = """
update candidates set fault = coalesce(fault || ', ' || %s, 'fails ' || %s) where id in (select candidate from landing.{trial} where ctid::text in ({rows}))"""


def make(connection: Connection) -> None:
    """An empty list of candidates, for the caller to fill; it is this connection's own."""
    connection.execute(MAKE)


def check_sql(connection: Connection, rule: Rule) -> None:
    """Have the warehouse read what the rule says, on no row. Raises BadRule. Where nothing of its table has landed yet, there is nothing to read it by."""
    there = connection.execute("select to_regclass(%s) is not null as there", (f"landing.{rule.table}",)).fetchone()
    if there and there["there"]:
        _run(connection, rule, PROBE, {})


def apply(connection: Connection, rule: Rule) -> int:
    """Change the candidates that the rule means, each as the rules before have left it; returns how many. Raises BadRule."""
    return _run(connection, rule, APPLY if rule.set else WAIVE, {"rule": rule.name, "expectation": rule.expectation, "never": NO_WAIVER})


def waived(connection: Connection) -> list[Row]:
    """The candidates that waivers mean; `fault` says what of their failures none of them covers."""
    connection.execute(STILL)
    return connection.execute(FOUND).fetchall()


def judge(connection: Connection, table: str, key: str) -> list[Row]:
    """The candidates that rules have changed; `fault` says what each would fail.

    They stand in their partition's place beside its other rows, in a table of their own for a moment: inside a transaction, GX's connection
    could not see them.
    """
    connection.execute(UNCHANGED)
    with lock(connection, f"landing/{table}_mended"):
        try:
            # who fails keeps its old row, which another one's new row may contradict
            while _copy(connection, table, key) and _fail(connection, table, key, trial("landing", table, f"{table}_mended_batch", key)):
                pass
        finally:
            connection.execute(sql.SQL("drop table if exists landing.{} cascade").format(sql.Identifier(f"{table}_mended")))
    return connection.execute(FOUND).fetchall()


def _run(connection: Connection, rule: Rule, statement: str, values: dict[str, Any]) -> int:
    types = {name: column.type for name, column in contracts()[rule.table].columns.items()}
    pairs = [sql.SQL("{}, to_jsonb(({})::{})").format(sql.Literal(name), _sql(text), sql.SQL(types[name])) for name, text in rule.set.items()]
    composed = sql.SQL(statement).format(pairs=sql.SQL(", ").join(pairs), table=sql.Identifier(rule.table), where=_sql(rule.where or "true"))
    try:
        return connection.execute(composed, values).rowcount
    except (psycopg.DataError, psycopg.ProgrammingError, psycopg.IntegrityError) as error:
        raise BadRule(f"{place(rule.name)}: {str(error).splitlines()[0]}") from error


def _sql(text: str) -> sql.SQL:
    # what a rule says may end in a comment
    return sql.SQL(text.replace("%", "%%") + "\n")


def _copy(connection: Connection, table: str, key: str) -> bool:
    """Make the partition as it would be; False where no candidate has changed."""
    meant = connection.execute("select count(*) as n from candidates where rules <> '{}' and fault is null").fetchone()
    if not meant or not meant["n"]:
        return False
    names = {"table": sql.Identifier(table), "trial": sql.Identifier(f"{table}_mended"), "key": sql.Literal(key), "meant": MEANT}
    connection.execute(sql.SQL(COPY).format(**names))
    view = (ROOT / f"ingestion/batches/{table}.sql").read_text()
    connection.execute(re.sub(rf"\blanding\.{table}(_batch)?\b", rf"landing.{table}_mended\1", view).encode())
    return True


def _fail(connection: Connection, table: str, key: str, outcome: Outcome) -> int:
    """Note what the candidates fail; returns how many fail something. What stops a partition is held against each of them."""
    where, failed = f"landing.{table} of {key}, as it would be", 0
    if stops := [str(failure) for failure in outcome.failures if failure.then == "stop"]:
        return connection.execute(sql.SQL("update candidates set fault = %s where {}").format(MEANT), (f"fails {', '.join(stops)}",)).rowcount
    with connection.transaction():
        connection.execute("select set_config('flightdeck.partition', %s, true)", (key,))
        for failure in outcome.failures:
            if failure.then == "quarantine":
                names = {"trial": sql.Identifier(f"{table}_mended"), "rows": sql.SQL(failure.row_ids(where))}
                failed += connection.execute(sql.SQL(FAILS).format(**names), (failure.name, failure.name)).rowcount
    return failed


def move(connection: Connection, table: str, columns: list[str]) -> list[Row]:
    """Write the candidates without a fault into their landed rows: (place now, candidate). Raises CheckBroken where one is not there any more."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    update = (
        "update landing.{table} l set ({names}) = (select {names} from jsonb_populate_record(null::landing.{table}, c.after) r)"
        " from candidates c where {meant} and l.ctid = c.place::tid returning l.ctid::text as row_id, c.id"
    )
    rows = connection.execute(sql.SQL(update).format(table=sql.Identifier(table), names=names, meant=MEANT)).fetchall()
    wanted = connection.execute(sql.SQL("select count(*) as n from candidates where {}").format(MEANT)).fetchone()
    if wanted and len(rows) != wanted["n"]:
        raise CheckBroken(f"repairing landing.{table}: {wanted['n']} rows to repair, and {len(rows)} of them are still where they were; run it again")
    return rows
