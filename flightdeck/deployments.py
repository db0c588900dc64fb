"""What serves, by ops.deployments: the truth that the registry's aliases only mirror.

A release's way: registered → shadow → canary → champion → retired, each a row with its evidence and reasons. The newest champion's row says what serves; the
newest row of all, if it is a registered release's, a shadow's or a canary's, what is on trial.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from flightdeck.code import code_version
from flightdeck.warehouse import Connection, Row, connect, lock, query

NEWEST = """
select id, model_version, release, partition_key from ops.deployments
where state = 'champion' and (%s::text is null or partition_key < %s) order by id desc limit 1"""
STANDING = """
(select id, partition_key, model_version, state, share, release from ops.deployments where state = 'champion' order by id desc limit 1)
union all
(select id, partition_key, model_version, state, share, release from ops.deployments order by id desc limit 1)"""
HISTORY = """
select id, at, partition_key, model_version, state, share, reasons, evidence, release ->> 'sha256' as sha256, release ->> 'run_id' as run_id, code
from ops.deployments where at <= %s order by id"""
# each worker of the service, by the name of its connection
WORKERS = "select application_name from pg_stat_activity where application_name like 'serving %'"


class Worker(NamedTuple):
    """The newest rows of ops.deployments and ops.ledger that a worker of the service has taken up, and the version that answers, or 0."""

    deployment: int
    ledger: int
    version: int

    @property
    def name(self) -> str:
        """Of the worker's connection to the warehouse; `workers` reads it."""
        return f"serving {self.deployment} {self.ledger} {self.version}"


class NothingToRollBackTo(RuntimeError):
    """No other version has served."""


class Overtaken(RuntimeError):
    """Another move has come first, like a roll back by hand; the message says which."""


@dataclass(frozen=True)
class Move:
    """A release's new state, why, and what the state before it has shown; a canary's is the share of requests that it answers."""

    state: str
    reasons: list[str]
    evidence: dict[str, Any] = field(default_factory=dict)
    share: float = 0.0


def champion(before: str | None = None) -> Row | None:
    """The newest deployment (id, model_version, release, partition_key), or None; with `before`, what served that partition."""
    rows = query(NEWEST, before, before)
    return rows[0] if rows else None


def standing(connection: Connection) -> tuple[Row | None, Row | None, int]:
    """(the champion's row, the candidate's row, the id of the newest row), None and 0 where there is none."""
    rows = connection.execute(STANDING).fetchall()
    newest = rows[-1] if rows else None
    served = rows[0] if rows and rows[0]["state"] == "champion" else None
    candidate = newest if newest and newest["state"] in ("registered", "shadow", "canary") else None
    return served, candidate, newest["id"] if newest else 0


def record(connection: Connection, key: str, release: dict[str, Any], move: Move) -> int:
    """Append a row; returns its id."""
    row = connection.execute(
        "insert into ops.deployments (partition_key, model_version, state, share, release, reasons, evidence, code)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
        (key, release["model_version"], move.state, move.share, Jsonb(release), Jsonb(move.reasons), Jsonb(move.evidence), code_version()),
    ).fetchone()
    assert row
    return int(row["id"])


@contextmanager
def following(connection: Connection, row: int) -> Iterator[None]:
    """A transaction in which `row` is the newest, so that nobody's decision is gone over; raises Overtaken."""
    with lock(connection, "deployments"), connection.transaction():
        newest = connection.execute("select id, model_version, state, reasons from ops.deployments order by id desc limit 1").fetchone()
        if newest and newest["id"] != row:
            raise Overtaken(f"version {newest['model_version']} became {newest['state']} in the meantime: {'; '.join(newest['reasons'])}")
        yield


def promote(connection: Connection, key: str, release: dict[str, Any], reasons: list[str], evidence: dict[str, Any] | None = None) -> int:
    """Make `release` the champion, and retire the one before it: both or neither. Returns the champion's row."""
    with lock(connection, "deployments"), connection.transaction():
        before, _, _ = standing(connection)
        if before and before["model_version"] != release["model_version"]:
            record(connection, key, before["release"], Move("retired", [f"version {release['model_version']} serves instead"]))
        return record(connection, key, release, Move("champion", reasons, evidence or {}))


def roll_back(version: int | None, reason: str, by: str | None = None) -> tuple[int, int, int]:
    """Make the version that served before the champion (or `version`) serve again; returns (from, to, row). Raises NothingToRollBackTo.

    A candidate on trial is retired: what follows a roll back is for people to say.
    """
    with connect() as connection, lock(connection, "deployments"), connection.transaction():
        now, candidate, _ = standing(connection)
        if now is None:
            raise NothingToRollBackTo("nothing has been deployed yet")
        rows = connection.execute(
            "select release from ops.deployments where state = 'champion' and model_version <> %s and (%s::int is null or model_version = %s)"
            " order by id desc limit 1",
            (now["model_version"], version, version),
        ).fetchone()
        if rows is None:
            served = connection.execute("select distinct model_version from ops.deployments where state = 'champion' order by 1").fetchall()
            known = ", ".join(str(each["model_version"]) for each in served)
            said = "serves already" if version == now["model_version"] else f"has never served; these have: {known}"
            raise NothingToRollBackTo(f"version {version} {said}" if version else f"no version but {now['model_version']} has served")
        if candidate:
            record(connection, now["partition_key"], candidate["release"], Move("retired", [f"roll back: {reason}"]))
        row = promote(connection, now["partition_key"], rows["release"], [f"roll back: {reason}"], {"by": by} if by else {})
        return now["model_version"], rows["release"]["model_version"], row


def history(until: datetime) -> list[Row]:
    """Every move of a release up to a time, oldest first."""
    return query(HISTORY, until)


def workers(connection: Connection) -> list[Worker]:
    """The workers of the service that are connected."""
    names = [row["application_name"].split() for row in connection.execute(WORKERS).fetchall()]
    return [Worker(*map(int, name[1:])) for name in names if len(name) == 4]
