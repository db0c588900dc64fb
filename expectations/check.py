"""The checkpoints of the loop: on a landed partition, before it is published, and on the marts, before they may be read."""

from pkgutil import iter_modules
from typing import Any

from psycopg import sql

from expectations import suites
from expectations.batch import Outcome, validate
from expectations.repair import mend, waive
from expectations.watch import measured, sources, watch
from flightdeck.contracts import contracts
from flightdeck.ledger import Attempt, step
from flightdeck.warehouse import Connection, connect

HELD = """
select (select count(distinct row_id) from landing.failures where source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s)
    + (select count(*) from landing.rejected where source_table = %(table)s and partition_key = %(key)s and attempt = %(attempt)s) as n"""


class CheckFailed(RuntimeError):
    """Data that must not flow on; the message names table, expectation and rows."""


def tables(schema: str) -> list[str]:
    """The tables of `schema` that have a suite: a new file in suites/ is all that a new check needs."""
    return sorted(module.name.removeprefix(f"{schema}_") for module in iter_modules(suites.__path__) if module.name.startswith(f"{schema}_"))


def check_landing(handed: dict[str, Any]) -> dict[str, Any]:
    """Check what the attempt landed; rows to quarantine are noted in landing.failures, for the publish transaction to move."""
    with step(Attempt(**handed)) as attempt, connect() as connection:
        attempt.still_newest(connection)
        landed = [table for table in tables("landing") if f"landed_{table}" in attempt.facts]
        try:
            outcomes = {table: _landed(connection, attempt, table) for table in landed}
            # all notes or none: a check that breaks, or stops the partition, leaves nothing behind
            with connection.transaction():
                for table, outcome in outcomes.items():
                    _note(connection, attempt, table, outcome)
                    waive(connection, attempt, table)
                    _limit(connection, attempt, table, outcome)
        except CheckFailed:
            # while a newer attempt lands its rows, these are there twice
            attempt.still_newest(connection)
            raise
        measured(attempt.key, "landing", landed)
    return handed | {"facts": attempt.facts}


def check_marts(handed: dict[str, Any]) -> dict[str, Any]:
    """Check the partition's marts; nothing there may go to quarantine any more, so a failure stops or is counted."""
    with step(Attempt(**handed)) as attempt, connect() as connection:
        attempt.still_newest(connection)
        for table in tables("marts"):
            _checked(attempt, "marts", table, f"{table}_batch")
        measured(attempt.key, "marts", tables("marts"))
        # here and not at the landing, whose partitions come in any order: what is usual is known from the earlier ones
        watch(attempt, sources(attempt.key))
    return handed | {"facts": attempt.facts}


def _landed(connection: Connection, attempt: Attempt, table: str) -> Outcome:
    """The outcome on the rows as they landed, or, where rules have repaired some, on those as they are then."""
    outcome = _checked(attempt, "landing", table, f"{table}_batch")
    return _checked(attempt, "landing", table, f"{table}_batch") if mend(connection, attempt, table, outcome) else outcome


def _checked(attempt: Attempt, schema: str, table: str, view: str) -> Outcome:
    outcome = validate(schema, table, view, attempt.key)
    attempt.facts[f"checked_{schema}_{table}"] = {
        "expectations": outcome.expectations,
        "failed": {failure.name: failure.rows if failure.found is None else failure.found for failure in outcome.failures},
    }
    if stops := [str(failure) for failure in outcome.failures if failure.then == "stop"]:
        raise CheckFailed(f"{schema}.{table} of {attempt.key}: {', '.join(stops)}")
    return outcome


def _note(connection: Connection, attempt: Attempt, table: str, outcome: Outcome) -> None:
    connection.execute("select set_config('flightdeck.partition', %s, true)", (attempt.key,))
    connection.execute("delete from landing.failures where source_table = %s and partition_key = %s", (table, attempt.key))
    for failure in outcome.failures:
        if failure.then != "quarantine":
            continue
        rows = failure.row_ids(f"landing.{table} of {attempt.key}")
        connection.execute(
            sql.SQL("insert into landing.failures select %s, %s, %s, row_id, %s from ({}) failing").format(sql.SQL(rows)),
            (table, attempt.key, attempt.number, failure.name),
        )


def _limit(connection: Connection, attempt: Attempt, table: str, outcome: Outcome) -> None:
    """Raises CheckFailed when more of the load would go to quarantine than its contract stands; a row counts once, for whatever reasons."""
    row = connection.execute(HELD, {"table": table, "key": attempt.key, "attempt": attempt.number}).fetchone()
    held, landed, most = row["n"] if row else 0, attempt.facts[f"landed_{table}"], contracts()[table].most_quarantined
    if held > most * landed:
        reasons = [failure for failure in outcome.failures if failure.then == "quarantine"]
        worst = str(max(reasons, key=lambda failure: failure.rows)) if reasons else "rows that could not be read"
        raise CheckFailed(
            f"landing.{table} of {attempt.key}: {held} of {landed} rows would go to quarantine, {held / landed:.2%} where its contract stands {most:.2%};"
            f" most of them: {worst}"
        )
