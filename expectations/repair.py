"""Rows that a check would hold, repaired or waived by rules: at each ingestion those that have landed, by the command those in quarantine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from expectations import judge
from expectations.batch import Outcome
from flightdeck.ledger import Attempt
from flightdeck.repairs import BadRule, Rule, refuse_expired, rules
from flightdeck.warehouse import Connection, Row, connect

GATHER = """
insert into candidates (place, entity_key, failed, before, after)
select f.row_id, b.entity_id, f.failed, to_jsonb(l), to_jsonb(l)
from (select row_id, array_agg(distinct expectation) as failed from ({failing}) each group by 1) f join landing.{batch} b using (row_id)
join landing.{table} l on l.ctid = f.row_id::tid"""
NOTE = """
insert into landing.repaired (source_table, partition_key, attempt, row_id, entity_key, row, expectation, state, rule, reason, by, repaired)
select %(table)s, %(key)s, %(attempt)s, row_id, entity_key, before, array_to_string(failed, ', '), %(state)s, %(rule)s, %(reason)s, %(by)s,
    nullif(after, before) from unnest(%(ids)s::bigint[], %(row_ids)s::text[]) as now (id, row_id) join candidates using (id)"""
MINE = "source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s"
NOTED = f"select row_id, expectation from landing.failures where {MINE}"
# what could not be read has no row of its table
HELD = """
insert into candidates (place, entity_key, failed, before, after) select id::text, entity_key, string_to_array(expectation, ', '), row, row from quarantine.rows
where source_table = %(table)s and partition_key = %(key)s and id = any(%(ids)s)"""
MEANT = """
select source_table, partition_key, array_agg(id order by id) as ids from quarantine.rows where row ? '_dlt_load_id'
and (state = 'held' or (state = 'repaired' and (%(rule)s::text is null or rule = %(rule)s))) group by 1, 2 order by 1, 2"""
UNREADABLE = "select count(*) as n from quarantine.rows where state = 'held' and not row ? '_dlt_load_id'"
RELEASE = "update quarantine.rows set state = 'held', rule = null, reason = null, by = null, repaired = null where state = 'repaired' and id = any(%s)"
MARK = """
update quarantine.rows q set state = 'repaired', rule = %(rule)s, reason = %(reason)s, by = %(by)s, repaired = nullif(c.after, c.before)
from candidates c where c.id = any(%(ids)s) and q.id = c.place::bigint"""
PASS = f"delete from landing.failures where {MINE} and row_id = any(%(row_ids)s)"


@dataclass(frozen=True)
class Judged:
    """A held row under the rules that mean it: {column: (before, after)}, nothing for a waiver; what it would still fail, if anything."""

    table: str
    key: str
    entity_key: str | None
    expectation: str
    rule: str
    reason: str
    changes: dict[str, tuple[Any, Any]]
    fault: str | None


@dataclass(frozen=True)
class Told:
    """What the command found: each row that a rule means, the rules that mean none, and how many held rows no rule can reach."""

    rows: list[Judged]
    idle: list[str]
    unreadable: int


def mend(connection: Connection, attempt: Attempt, table: str, outcome: Outcome) -> bool:
    """Repair those of the failing landed rows that rules cure; True where some were. What a rule does not cure stays as it came."""
    mine = {rule.name: rule for rule in rules() if rule.covers(table, attempt.key) and rule.set}
    failing = [failure for failure in outcome.failures if failure.then == "quarantine"]
    if not mine or not failing:
        return False
    place = f"landing.{table} of {attempt.key}"
    _gather(connection, attempt, table, [(failure.name, failure.row_ids(place)) for failure in failing])
    for rule in mine.values():
        judge.apply(connection, rule)
    found = judge.judge(connection, table, attempt.key)
    if refused := [f"{row['entity_key']}: {', '.join(row['rules'])}: {row['fault']}" for row in found if row["fault"]]:
        attempt.facts[f"not_repaired_{table}"] = refused[:20]
    good = {row["id"]: row for row in found if not row["fault"]}
    if good:
        columns = sorted({column for row in good.values() for name in row["rules"] for column in mine[name].set})
        # the rows and the notes of them, or neither: a check that is done again finds them repaired, and noted
        with connection.transaction():
            attempt.still_newest(connection)
            _note(connection, attempt, table, "replayed", [good[now["id"]] | now for now in judge.move(connection, table, columns)], mine)
    return bool(good)


def waive(connection: Connection, attempt: Attempt, table: str) -> None:
    """Inside the caller's transaction: take rows out of the notes all of whose failures are waived."""
    values = {"table": table, "key": attempt.key, "attempt": attempt.number}
    connection.execute(f"delete from landing.repaired where {MINE} and state = 'waived'", values)
    there = {rule.name: rule for rule in rules() if rule.covers(table, attempt.key) and rule.waive}
    if gone := [name for name, rule in there.items() if rule.expired]:
        attempt.facts[f"expired_{table}"] = gone
    mine = {name: rule for name, rule in there.items() if not rule.expired}
    if not mine:
        return
    _gather(connection, attempt, table, [])
    for rule in mine.values():
        judge.apply(connection, rule)
    good = [row | {"row_id": row["place"]} for row in judge.waived(connection) if not row["fault"]]
    _note(connection, attempt, table, "waived", good, mine)
    connection.execute(PASS, values | {"row_ids": [row["row_id"] for row in good]})


def repair(name: str | None = None, dry_run: bool = False) -> Told:
    """Judge the rules, or the one of this name, on the held rows, and mark as `repaired` those that would pass. Raises BadRule.

    A row that was marked and would not pass any more is held again.
    """
    known = {rule.name: rule for rule in rules()}
    if name and name not in known:
        raise BadRule(f"there is no rule {name}; there are: {', '.join(known) or 'none'}")
    mine = {name: known[name]} if name else known
    rows: list[Judged] = []
    with connect() as connection:
        for rule in mine.values():
            refuse_expired(rule)
            judge.check_sql(connection, rule)
        for group in connection.execute(MEANT, {"rule": name}).fetchall():
            rows += [_told(row, group, mine) for row in _judged(connection, group, mine, dry_run)]
        unreadable = connection.execute(UNREADABLE).fetchone()
    used = {rule for row in rows for rule in row.rule.split(", ")}
    return Told(rows, sorted(mine.keys() - used), unreadable["n"] if unreadable else 0)


def _gather(connection: Connection, attempt: Attempt, table: str, failing: list[tuple[str, str]]) -> None:
    """The failing landed rows as candidates; without a list of (expectation, SQL of row_id) those that the check has noted."""
    judge.make(connection)
    values = {"table": table, "key": attempt.key, "attempt": attempt.number}
    parts = [sql.SQL("select row_id, {}::text as expectation from ({}) failing").format(sql.Literal(name), sql.SQL(rows)) for name, rows in failing]
    listed = sql.SQL(" union all ").join(parts) if parts else sql.SQL(NOTED)
    names = {"failing": listed, "batch": sql.Identifier(f"{table}_batch"), "table": sql.Identifier(table)}
    with connection.transaction():
        connection.execute("select set_config('flightdeck.partition', %s, true)", (attempt.key,))
        connection.execute(sql.SQL(GATHER).format(**names), values)


def _named(rules_: Iterable[str], known: dict[str, Rule]) -> dict[str, str]:
    """What is written of a row under these rules: which, why, and by whom."""
    mine = [known[name] for name in rules_]
    return {
        "rule": ", ".join(rule.name for rule in mine),
        "reason": "; ".join(dict.fromkeys(rule.reason for rule in mine)),
        "by": ", ".join(dict.fromkeys(rule.by for rule in mine)),
    }


def _by_rules(rows: list[Row], known: dict[str, Rule]) -> Iterator[tuple[dict[str, str], list[Row]]]:
    """The rows under the same rules together: a statement for each lot, and not for each row."""
    for names in dict.fromkeys(tuple(row["rules"]) for row in rows):
        yield _named(names, known), [row for row in rows if tuple(row["rules"]) == names]


def _note(connection: Connection, attempt: Attempt, table: str, state: str, rows: list[Row], known: dict[str, Rule]) -> None:
    values = {"table": table, "key": attempt.key, "attempt": attempt.number, "state": state}
    for named, lot in _by_rules(rows, known):
        connection.execute(NOTE, values | named | {"ids": [row["id"] for row in lot], "row_ids": [row["row_id"] for row in lot]})


def _judged(connection: Connection, group: Row, known: dict[str, Rule], dry_run: bool) -> list[Row]:
    """The rows of a table and partition that rules mean: first as the values set make them, then, of the rest, what is waived; as ingestion does it."""
    table, key, left = group["source_table"], group["partition_key"], set(group["ids"])
    told: dict[str, Row] = {}
    for kind in ("set", "waive"):
        mine = {name: rule for name, rule in known.items() if getattr(rule, kind) and rule.covers(table, key)}
        if not mine or not left:
            continue
        judge.make(connection)
        connection.execute(HELD, {"table": table, "key": key, "ids": list(left)})
        for rule in mine.values():
            judge.apply(connection, rule)
        found = judge.judge(connection, table, key) if kind == "set" else judge.waived(connection)
        told |= {row["place"]: row for row in found}
        good = [row for row in found if not row["fault"]]
        left -= {int(row["place"]) for row in good}
        for named, lot in [] if dry_run else _by_rules(good, mine):
            connection.execute(MARK, named | {"ids": [row["id"] for row in lot]})
    if not dry_run:
        connection.execute(RELEASE, (list(left),))
    return list(told.values())


def _told(row: Row, group: Row, known: dict[str, Rule]) -> Judged:
    before, after, named = row["before"], row["after"], _named(row["rules"], known)
    changes = {column: (before.get(column), after[column]) for column in after if before.get(column) != after[column]}
    place = (group["source_table"], group["partition_key"], row["entity_key"], ", ".join(row["failed"]))
    return Judged(*place, named["rule"], named["reason"], changes, row["fault"])
