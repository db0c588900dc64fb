"""transform: raw → staging → intermediate → marts, one partition, checked.

Reads raw and the history of earlier partitions. Writes intermediate, marts, the lake, ops.ledger.
Promises: partitions in key order; readers see the partition only once it is built and checked; when what it hands on to the next
one has changed, that is built anew.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from flightdeck.orchestration import MARTS, RAW, AwaitLedger, defaults


@dag(schedule=PartitionedAssetTimetable(assets=RAW), tags=["data"], doc_md=__doc__, **defaults(3))
def transform() -> None:
    earlier = AwaitLedger(task_id="await_earlier", earlier="transform", own=["plan"])

    @task
    def build(dag_run: Any = None) -> dict[str, Any]:
        from flightdeck.transform import build

        return build(dag_run.partition_key)

    @task
    def check(attempt: dict[str, Any]) -> dict[str, Any]:
        from expectations.check import check_marts

        return check_marts(attempt)

    @task(outlets=[MARTS])
    def publish(attempt: dict[str, Any]) -> None:
        from flightdeck.transform import publish

        publish(attempt)

    @task
    def rebuild_next(dag_run: Any = None) -> None:
        from flightdeck.transform import rebuild_next

        rebuild_next(dag_run.partition_key)

    @task
    def deliver(dag_run: Any = None) -> None:
        from flightdeck.lake import deliver

        deliver(dag_run.partition_key)

    built = build()
    earlier >> built
    publish(check(built)) >> [rebuild_next(), deliver()]


transform()
