"""timetable: a month's planned departures, before it begins → landing → checked → raw → the marts that plans need.

Reads the published timetable as of the partition's start. Writes landing, raw, quarantine.rows, marts of plans, ops.ledger.
Promises: what a request can know of the plan is there before the first request of its month.
"""

from typing import Any

from airflow.sdk import CronPartitionTimetable, dag, task

from flightdeck.orchestration import PLANNED, defaults


@dag(schedule=CronPartitionTimetable(**PLANNED), tags=["data"], doc_md=__doc__, **defaults(1))
def timetable() -> None:
    @task
    def load(dag_run: Any = None) -> dict[str, Any]:
        from ingestion.load import load

        return load(dag_run.partition_key, "timetable")

    @task
    def check(attempt: dict[str, Any]) -> dict[str, Any]:
        from expectations.check import check_landing

        return check_landing(attempt)

    @task
    def publish(attempt: dict[str, Any]) -> None:
        from ingestion.publish import publish

        publish(attempt)

    @task
    def plan(dag_run: Any = None) -> None:
        from flightdeck.transform import plan

        plan(dag_run.partition_key)

    publish(check(load())) >> plan()


timetable()
