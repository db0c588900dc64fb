"""The ledger: one append-only table with a row for each state of each attempt of each stage on each partition.

What is published, `status` and the order of the learning stages all read it. Readers trust only partitions that it calls published.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from getpass import getuser
from typing import Any

from psycopg.types.json import Jsonb

from flightdeck import deployments, logs
from flightdeck.code import code_version
from flightdeck.partitions import partition
from flightdeck.warehouse import Connection, Row, connect, lock, lock_until_end, query

log = logging.getLogger("flightdeck.stages")
# These end an attempt well; `published` is the word of the stages that publish data.
ENDED = ["published", "done"]
# The key of what concerns no partition, like an erasure. It is no partition's, so nothing waits for it.
WHOLE = "all"
# These are done again when a partition is reopened; the good end of every other stage stays a fact.
DATA = ["ingest", "transform"]
NEWEST = """
select distinct on (partition_key, stage) partition_key, stage, inputs, outputs, facts,
    extract(epoch from at - (select min(s.at) from ops.ledger s
        where s.partition_key = l.partition_key and s.stage = l.stage and s.attempt = l.attempt and s.state = 'started'))::float as seconds
from ops.ledger l where state = any(%s) and partition_key <> 'all' order by partition_key, stage, id desc"""
STANDING = """
select partition_key, stage, max(id) filter (where state = any(%s)) as ended, max(id) filter (where state = 'reopened') as reopened,
    max(id) filter (where state = 'withdrawn' and inputs <> '{}') as withdrawn
from ops.ledger where partition_key <> 'all' group by 1, 2"""
# a reopened partition will be read until then, even before it has been
READ_UNTIL = """
select partition_key, max((inputs ->> 'as_of')::timestamptz) as as_of from ops.ledger l
where stage = %s and state in ('published', 'reopened') and inputs ? 'as_of' group by 1 order by 1"""


class Superseded(RuntimeError):
    """A newer attempt of the same stage on the same partition has begun; this one may not publish."""


@dataclass
class Attempt:
    """One attempt of `stage` on partition `key`. What a stage puts into inputs, outputs and facts is recorded at its end."""

    stage: str
    key: str
    number: int
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def record(self, state: str, connection: Connection | None = None) -> None:
        """Append a row; inside a transaction of the caller's when given its connection."""
        if connection is None:
            with connect() as own:
                return self.record(state, own)
        connection.execute(
            "insert into ops.ledger (partition_key, stage, attempt, state, inputs, outputs, facts, code) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (self.key, self.stage, self.number, state, Jsonb(self.inputs), Jsonb(self.outputs), Jsonb(self.facts), code_version()),
        )

    def claim(self, connection: Connection) -> None:
        """Inside the caller's transaction: take the partition's lock until its end, and refuse an attempt that was superseded."""
        lock_until_end(connection, f"{self.stage}/{self.key}")
        self.still_newest(connection)

    def still_newest(self, connection: Connection) -> None:
        """Refuse an attempt that was superseded: whoever has waited for a lock asks before it overwrites what the newer one has made."""
        newest = _newest_attempt(connection, self.stage, self.key)
        if newest != self.number:
            raise Superseded(f"{self.stage} of {self.key}: attempt {self.number} was superseded by attempt {newest}; nothing was published")


def _newest_attempt(connection: Connection, stage: str, key: str) -> int:
    row = connection.execute("select coalesce(max(attempt), 0) as n from ops.ledger where stage = %s and partition_key = %s", (stage, key)).fetchone()
    return int(row["n"]) if row else 0


def begin(stage: str, key: str | None) -> Attempt:
    """Start a new attempt; raises InvalidPartition when `key` is neither a partition key nor WHOLE."""
    checked = key if key == WHOLE else partition(key).key
    with connect() as connection, connection.transaction():
        lock_until_end(connection, f"{stage}/{checked}")
        attempt = Attempt(stage, checked, _newest_attempt(connection, stage, checked) + 1)
        attempt.record("started", connection)
    return attempt


def fail(stage: str, key: str, error: str) -> None:
    """Record that the newest attempt, or one that never began, has failed: for whoever saw it end, since it cannot say so itself."""
    with connect() as connection:
        Attempt(stage, partition(key).key, _newest_attempt(connection, stage, key), facts={"error": error[:2000]}).record("failed", connection)


@contextmanager
def step(attempt: Attempt) -> Iterator[Attempt]:
    """A step of a stage that several tasks share: whatever is raised is recorded as `failed`, with its reason, and raised on.

    An attempt that a newer one has overtaken just ends, as `superseded`, which is said once: its work is being done.
    """
    try:
        serves = deployments.champion()
        with logs.within(partition=attempt.key, stage=attempt.stage, attempt=attempt.number, release=serves and serves["model_version"]):
            yield attempt
            log.info("%s of %s: %s", attempt.stage, attempt.key, json.dumps(attempt.facts, default=str)[:1000])
    except Superseded as overtaken:
        if not attempt.facts.get("superseded"):
            attempt.facts |= {"superseded": True, "reason": str(overtaken)}
            attempt.record("superseded")
    except BaseException as error:
        attempt.facts |= {"error": f"{type(error).__name__}: {error}"[:2000]}
        attempt.record("failed")
        raise


def once(name: str, after: str | None = None) -> Callable[[Callable[[Attempt], None]], Callable[[str | None], None]]:
    """Make a stage of `work(attempt)` that is called with a partition key, and whose good end stays a fact: it is not done again.

    Only where the stage `after` has ended well once more since then, its word is a new one, and this stage answers it.
    """

    def decorate(work: Callable[[Attempt], None]) -> Callable[[str | None], None]:
        @wraps(work)
        def run(key: str | None) -> None:
            checked = partition(key).key
            with connect() as connection, lock(connection, f"once/{name}/{checked}"):
                done, before = last(name, checked), last(after, checked) if after else None
                if done is None or (before and before["id"] > done["id"]):
                    with step(begin(name, checked)) as attempt:
                        work(attempt)
                        attempt.record("done")

        return run

    return decorate


def record(name: str, key: str | None, work: Callable[[str], dict[str, Any]], after: str | None = None) -> None:
    """A stage of somebody else's making: `work(key)` does it, and returns its facts. Its good end stays a fact too."""

    @once(name, after)
    def run(attempt: Attempt) -> None:
        attempt.facts = work(attempt.key)

    run(key)


def last(stage: str, key: str) -> Row | None:
    """The newest row of a stage that ended well, or None."""
    rows = query("select * from ops.ledger where stage = %s and partition_key = %s and state = any(%s) order by id desc limit 1", stage, key, ENDED)
    return rows[0] if rows else None


def newest() -> dict[str, dict[str, Row]]:
    """{partition: {stage: its newest row that ended well, with the attempt's `seconds`}}, in key order."""
    found: dict[str, dict[str, Row]] = {}
    for row in query(NEWEST, ENDED):
        found.setdefault(row["partition_key"], {})[row["stage"]] = row
    return found


def plan(keys: list[str]) -> None:
    """Record that these partitions will come, and come again where they are published: later ones wait for them, in whatever order runs arrive."""
    there = published()
    with connect() as connection, connection.transaction():
        for key in keys:
            Attempt("replay", partition(key).key, 0).record("planned", connection)
            if key in there:
                reopen(connection, DATA[-1], key, {}, {"asked": True, "by": getuser()})


def reopen(connection: Connection, stage: str, key: str, inputs: dict[str, Any], facts: dict[str, Any]) -> None:
    """Record that a data stage and those after it have to be done again for `key`: whoever reads the partition waits for that."""
    Attempt(stage, key, _newest_attempt(connection, stage, key), inputs, {}, facts).record("reopened", connection)


def reopened(up_to: str = "9999-12") -> list[str]:
    """Partitions, up to a key, that were reopened and have not been published anew."""
    return standing().reopened(up_to)


def unstarted(stage: str, found_by: str | None) -> list[str]:
    """Partitions that `found_by` has reopened, and whose new attempt of `stage` has not begun."""
    rows = query(
        "select distinct partition_key from ops.ledger r where state = 'reopened' and stage = %s and facts ->> 'found_by' = %s and not exists"
        " (select from ops.ledger s where s.partition_key = r.partition_key and s.stage = r.stage and s.state = 'started' and s.id > r.id) order by 1",
        stage, found_by,
    )  # fmt: skip
    return [row["partition_key"] for row in rows]


def read_until(stage: str) -> dict[str, datetime]:
    """Until which time the sources of each partition have been read, or will have been."""
    return {row["partition_key"]: row["as_of"] for row in query(READ_UNTIL, stage)}


def published(before: str | None = None) -> list[str]:
    """Keys of the partitions whose marts may be read, in order; with `before`, only those earlier than it."""
    rows = query("select partition_key from ops.published where %s::text is null or partition_key < %s order by 1", before, before)
    return [row["partition_key"] for row in rows]


def withdrawn() -> list[str]:
    """Partitions that a build has taken out of readers' sight, until they are published anew; one that was taken away by hand is none."""
    rows = query(
        "select partition_key from (select distinct on (partition_key) partition_key, state, inputs from ops.ledger where stage = %s"
        " and state in ('published', 'withdrawn') order by partition_key, id desc) last_word where state = 'withdrawn' and inputs <> '{}' order by 1", DATA[-1],
    )  # fmt: skip
    return [row["partition_key"] for row in rows]


@dataclass(frozen=True)
class Standing:
    """How far each partition has come, from one look at the ledger: the ids of newest rows, 0 where there is none."""

    ended: dict[tuple[str, str], int]
    opened: dict[str, int]
    taken: dict[str, int]

    def has_ended(self, stage: str, key: str) -> bool:
        return (stage, key) in self.ended

    def reopened(self, up_to: str) -> list[str]:
        """Partitions, up to a key, that were reopened and have not been published anew."""
        return sorted(key for key, opened in self.opened.items() if opened and key <= up_to and self.ended.get((DATA[-1], key), 0) < opened)

    def unfinished_before(self, stage: str, key: str) -> list[str]:
        """Earlier partitions that the ledger knows of and that this stage has not ended, or not since they were taken up again."""
        return sorted(
            other for other in self.opened
            if other < key and self.ended.get((stage, other), 0) <= (max(self.opened[other], self.taken[other]) if stage in DATA else 0)
        )  # fmt: skip


def standing() -> Standing:
    """Look at the ledger once."""
    rows = query(STANDING, ENDED)
    opened, taken = dict[str, int](), dict[str, int]()
    for row in rows:
        key = row["partition_key"]
        opened[key], taken[key] = max(opened.get(key, 0), row["reopened"] or 0), max(taken.get(key, 0), row["withdrawn"] or 0)
    return Standing({(row["stage"], row["partition_key"]): row["ended"] for row in rows if row["ended"]}, opened, taken)
