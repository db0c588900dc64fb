"""transform: raw → staging → intermediate → marts, one partition, checked.

Reads raw and the history of earlier partitions. Writes intermediate, marts, ops.ledger.
Promises: partitions in key order; readers see the partition only once it is built and checked.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from flightdeck.orchestration import DEFAULTS, MARTS, RAW, AwaitLedger


@dag(schedule=PartitionedAssetTimetable(assets=RAW), tags=["data"], doc_md=__doc__, **DEFAULTS)
def transform() -> None:
    earlier = AwaitLedger(task_id="await_earlier", earlier="transform")

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

    built = build()
    earlier >> built
    publish(check(built))


transform()
