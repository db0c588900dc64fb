"""Replaying months through Airflow: start their runs, follow them in the ledger, stop at the first failure."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from flightdeck import ledger
from flightdeck.airflow_api import Airflow, AirflowError, FailedTask
from flightdeck.settings import settings
from flightdeck.stack import raise_given_up
from flightdeck.warehouse import Row, query

# A month is through when this has ended; each of these DAGs gets a run, all others follow from assets.
LAST_STAGE = "deploy"
PRODUCERS = ["timetable", "world", "ingest"]
RECOVERY_SECONDS = 120
# partitions on their way at once: while one learns, the data of the next two come. More only wait, and take their share of the machine while they do.
AT_ONCE = 3
NEWS = "select id, partition_key, stage, attempt, state, facts, at from ops.ledger where id > %s and partition_key = any(%s) and state <> 'planned' order by id"
OPEN = """
select partition_key from unnest(%s::text[]) as wanted (partition_key) where not exists (
    select from ops.ledger l where l.partition_key = wanted.partition_key and l.stage = %s and l.state = 'done')
or not exists (select from ops.published p where p.partition_key = wanted.partition_key)
or (wanted.partition_key = any(%s) and not exists (
    select from ops.ledger l where l.partition_key = wanted.partition_key and l.stage = 'transform' and l.state = 'published' and l.id > %s))"""


class ReplayFailed(RuntimeError):
    """A stage failed for good; the message names stage, partition, cause and log."""


def unfinished(keys: list[str]) -> list[str]:
    """Those of `keys` that have not gone through the whole loop."""
    return [key for key in keys if ledger.last(LAST_STAGE, key) is None or key not in ledger.published()]


def replay(
    keys: list[str], tell: Callable[[Row, float], None], idle: Callable[[list[Row]], None], begin_with: list[str] = PRODUCERS, at_once: int = AT_ONCE
) -> None:
    """Send `keys` through the loop, done before or not, from the DAGs `begin_with` on; the next one as soon as fewer than `at_once` are on their way.

    `tell` gets each new ledger row with its stage's seconds, `idle` what runs now.
    """
    airflow, since = Airflow(), datetime.now(UTC).isoformat()
    _await_dags(airflow)
    begun = query("select coalesce(max(id), 0) as id from ops.ledger")[0]["id"]
    # a partition that is still on its way is followed, not sent a second time; but for what of it has failed
    anew = sorted(set(keys) - airflow.active())
    ledger.plan(anew)
    newest = {dag: airflow.newest(dag) for dag in begin_with}
    running: dict[tuple[str, str], Row] = {}
    waiting, open_keys, watched, seen, answered = list(keys), keys, set(keys), begun, time.monotonic()
    while open_keys:
        try:
            while waiting and len(set(open_keys) - set(waiting)) < at_once:
                key = waiting[0]
                for dag in begin_with:
                    if key in anew or newest[dag].get(key, "failed") == "failed":
                        airflow.trigger(dag, key)
                waiting.pop(0)
            # what is open is asked before what is new: so the last news are told, too
            reopened = ledger.reopened()
            watched |= set(reopened)
            open_keys = [row["partition_key"] for row in query(OPEN, keys, LAST_STAGE, anew, begun)] + reopened
            for news in query(NEWS, seen, sorted(watched)):
                seen = news["id"]
                tell(news, _seconds(news, running))
            _raise_failures(airflow.failed(since, open_keys))
            answered = time.monotonic()
        except (psycopg.OperationalError, AirflowError):
            # what has died is being started again; the stages go on by themselves then
            if time.monotonic() - answered > RECOVERY_SECONDS:
                raise
        raise_given_up()
        idle(list(running.values()))
        time.sleep(1)


def settle(keys: list[str], note: Callable[[str], None], seconds: float = 1800) -> None:
    """Wait until no run of these partitions is on its way: one that is would be followed by `replay`, and not sent again. Raises ReplayFailed."""
    airflow, deadline = Airflow(), time.monotonic() + seconds
    while busy := sorted(set(keys) & airflow.active()):
        if time.monotonic() > deadline:
            raise ReplayFailed(f"{', '.join(busy)}: still on the way after {seconds:.0f} s; it goes on in Airflow: {settings().public_url('airflow')}")
        note(f"waiting for what is on its way of {', '.join(busy)}")
        time.sleep(1)


def answer(stage: str, to: Row, seconds: float = 300) -> Row:
    """The row in which `stage` answers the ledger's row `to` of the same partition, once it is there. Raises ReplayFailed."""
    airflow, since, deadline = Airflow(), to["at"].isoformat(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = ledger.last(stage, to["partition_key"])
        if row and row["id"] > to["id"]:
            return row
        _raise_failures(airflow.failed(since, [to["partition_key"]]))
        time.sleep(0.5)
    raise ReplayFailed(f"{stage} of {to['partition_key']} has not ended within {seconds:.0f} s; it goes on in Airflow: {settings().public_url('airflow')}")


def _seconds(news: Row, running: dict[tuple[str, str], Row]) -> float:
    """How long the stage took that this row ends; keeps `running` up to date."""
    place = (news["partition_key"], news["stage"])
    if news["state"] == "started":
        running[place] = news
    elif news["state"] in ("failed", *ledger.ENDED):
        return float((news["at"] - running.pop(place, news)["at"]).total_seconds())
    return 0.0


def _await_dags(airflow: Airflow, seconds: float = 60) -> None:
    """The DAG processor reads the files a moment after it has started."""
    wanted, deadline = {*PRODUCERS, "transform", "monitor", "train", "deploy"}, time.monotonic() + seconds
    while not wanted <= airflow.dags():
        if time.monotonic() > deadline:
            raise ReplayFailed(f"Airflow does not know the DAGs {', '.join(sorted(wanted - airflow.dags()))}; {'; '.join(airflow.import_errors())}")
        time.sleep(0.5)


def _raise_failures(failed: list[FailedTask]) -> None:
    if not failed:
        return
    task = failed[0]
    rows = query("select facts from ops.ledger where partition_key = %s and state = 'failed' order by id desc limit 1", task.key)
    log = settings().logs / "airflow" / f"dag_id={task.dag}" / f"run_id={task.run}" / f"task_id={task.task}" / f"attempt={task.tries}.log"
    # one that never ran: the ledger hears of it in a moment, from whoever noticed
    cause = rows[0]["facts"].get("error") if rows else Airflow().said(task.dag, task.run, task.task)
    raise ReplayFailed(f"{task.key}: {task.dag}.{task.task} failed after {task.tries} tries\n  cause: {cause}\n  log:   {log}")
