"""What all DAG files share: the assets that join them, their defaults, and waiting for recorded facts."""

import asyncio
import math
import os
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, BaseOperator
from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TaskSuccessEvent, TriggerEvent

from flightdeck.parameters import parameters
from flightdeck.partitions import FORMATS
from flightdeck.settings import settings

# One asset for each consumer: a consumer of several can be left waiting with a half-filled key.
RAW = Asset("raw", uri="flightdeck://warehouse/raw", group="data")
MARTS = Asset("marts", uri="flightdeck://warehouse/marts", group="data")
DECISION = Asset("decision", uri="flightdeck://ledger/decide", group="learning")
VERDICT = Asset("verdict", uri="flightdeck://ledger/gate", group="learning")

# seconds for which a look at the ledger serves all that wait
FRESH = 0.3
MOST_WAITING = timedelta(hours=12)
# A partition's run comes when it has closed, a plan's run before it begins: (cron and how many of its times before, and the same of a plan).
DAYS = math.ceil(settings().close_after_hours / 24)
WHEN: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "month": ((f"0 0 {1 + DAYS} * *", -1), ("0 0 20 * *", 1)),
    "day": (("0 0 * * *", -1 - DAYS), ("0 0 * * *", 1)),
    "hour": (("0 * * * *", -1 - settings().close_after_hours), ("0 * * * *", 1)),
}
CLOSED, PLANNED = (
    {"cron": cron, "timezone": settings().timezone, "run_offset": offset, "key_format": FORMATS[settings().partitions]}
    for cron, offset in WHEN[settings().partitions]
)
# What stands outside of the loop, and goes before it: it takes a moment, and says that tasks run at all.
EVERY_TWO_MINUTES: dict[str, Any] = {
    "schedule": timedelta(minutes=2),
    "start_date": datetime(2013, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 1, "retry_delay": timedelta(seconds=5), "weight_rule": "absolute", "priority_weight": 10},
}
# what nobody waits for: it comes after all else
HOURLY: dict[str, Any] = EVERY_TWO_MINUTES | {"schedule": "@hourly", "default_args": EVERY_TWO_MINUTES["default_args"] | {"priority_weight": 0}}
DAILY: dict[str, Any] = HOURLY | {"schedule": "@daily"}
# the first place in the loop that learns; before it are data
LEARNS = 4


def yield_to_learning(_: Any) -> None:
    """Months wait for each other only where they learn: the data of later ones take what is left of the processors."""
    os.nice(10)


def tell_ledger(context: Any) -> None:
    """A task that failed for good without a word of its own, since it never ran or was killed: the ledger says so, in Airflow's words.

    Airflow calls this in the task's own process after an exception, which the ledger knows already; and else in the DAG processor.
    """
    if context.get("exception"):
        return
    from flightdeck import ledger
    from flightdeck.airflow_api import Airflow

    instance, key = context["ti"], context["dag_run"].partition_key
    if key:
        ledger.fail(instance.dag_id, key, f"{instance.task_id} did not run to its end: {Airflow().said(instance.dag_id, instance.run_id, instance.task_id)}")


def defaults(place: int) -> dict[str, Any]:
    """What a DAG has in common with the others, by its place in the loop: where workers or processors are few, what is nearer to the end goes first.

    So the months of a backfill come through one after the other, and not all at its end.
    """
    niceness = {} if place >= LEARNS else {"pre_execute": yield_to_learning}
    return {
        "start_date": datetime(2012, 12, 1, tzinfo=UTC),
        # the worked example's world ends with 2013; without an end, a run for today's month would be made as soon as the DAG is seen
        "end_date": datetime(2014, 1, 31, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 12,
        "default_args": {
            "retries": 2,
            "retry_delay": timedelta(seconds=5),
            "weight_rule": "absolute",
            "priority_weight": place,
            "on_failure_callback": tell_ledger,
            **niceness,
        },
    }


def missing(earlier: str, own: list[str], key: str) -> list[str]:
    """What `key` has to wait for: earlier partitions that have not ended stage `earlier` or were reopened, and its own stages `own`."""
    from flightdeck import ledger

    now = _standing()
    before = {f"{earlier} of {other}" for other in now.unfinished_before(earlier, key)}
    before |= {f"{ledger.DATA[-1]} of {other}" for other in now.reopened(key) if other < key or ledger.DATA[-1] in own}
    return sorted(before) + [f"{stage} of {key}" for stage in own if not now.has_ended(stage, key)]


_looking = threading.Lock()
_seen: dict[str, Any] = {"at": -math.inf}


def _standing() -> Any:
    """The ledger as it was at most FRESH seconds ago: dozens of triggers of one process share a look, and its connection."""
    from flightdeck import ledger

    with _looking:
        if time.monotonic() - _seen["at"] > FRESH:
            _seen["standing"] = ledger.standing()
            _seen["at"] = time.monotonic()
        return _seen["standing"]


class LedgerTrigger(BaseTrigger):
    """Ends its task well once nothing is missing any more."""

    def __init__(self, earlier: str, own: list[str], key: str) -> None:
        super().__init__()
        self.earlier, self.own, self.key = earlier, own, key

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "flightdeck.orchestration.LedgerTrigger", {"earlier": self.earlier, "own": self.own, "key": self.key}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from flightdeck.partitions import partition

        key, told = partition(self.key).key, None
        while waiting := await asyncio.to_thread(missing, self.earlier, self.own, key):
            if waiting != told:
                self.log.info("waiting for %s", ", ".join(waiting))
                told = waiting
            await asyncio.sleep(0.5)
        yield TaskSuccessEvent()


class AwaitLedger(BaseOperator):
    """Waits until all earlier known partitions have ended `earlier` and this one its stages `own`: in the triggerer only, no worker comes into it.

    Runs arrive in any order; a run that waited by holding a slot, or by max_active_runs=1, could hold back the one that it waits for.
    """

    template_fields = ("key",)
    start_from_trigger = True

    def __init__(self, *, earlier: str, own: list[str] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.earlier, self.own, self.key = earlier, own or [], "{{ dag_run.partition_key }}"
        path, arguments = LedgerTrigger(self.earlier, self.own, self.key).serialize()
        self.start_trigger_args = StartTriggerArgs(trigger_cls=path, trigger_kwargs=arguments, next_method="execute", timeout=MOST_WAITING)

    def execute(self, context: Any, event: Any = None) -> None:
        """Only where there is no scheduler, as in `airflow dags test`; what comes with an event has been waited for."""
        if event is None:
            self.defer(trigger=LedgerTrigger(self.earlier, self.own, self.key), method_name="execute", timeout=MOST_WAITING)


def approval() -> list[BaseOperator]:
    """The task that asks a person, where `gate.approval` in params.yaml says so."""
    if not parameters()["gate"]["approval"]:
        return []
    # its import takes a second, which a DAG file that needs none of it should not pay
    from flightdeck.approval import AskForApproval

    return [AskForApproval(task_id="approve")]
