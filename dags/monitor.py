"""monitor: how a partition's inputs drifted and its answers did, and whether that calls for a new training.

Reads marts, ops.predictions, ops.deployments. Writes reports, ops.ledger.
Promises: partitions in key order; what to expect is estimated before a label is looked at; labels count only from when they were known;
each decision has its reasons. Drift needs no answers, and is measured while they are asked for.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from flightdeck.orchestration import DECISION, MARTS, AwaitLedger, defaults
from flightdeck.settings import settings


@dag(schedule=PartitionedAssetTimetable(assets=MARTS), tags=["learning"], doc_md=__doc__, **defaults(4))
def monitor() -> None:
    deployed = AwaitLedger(task_id="await_earlier", earlier="deploy")
    asked = AwaitLedger(task_id="await_answers", earlier="deploy", own=settings().monitor_awaits)

    @task
    def drift(dag_run: Any = None) -> None:
        from monitoring.measure import compare

        compare(dag_run.partition_key)

    @task
    def measure(dag_run: Any = None) -> None:
        from monitoring.measure import monitor

        monitor(dag_run.partition_key)

    @task(outlets=[DECISION])
    def decide(dag_run: Any = None) -> None:
        from monitoring.decide import decide

        decide(dag_run.partition_key)

    [deployed >> drift(), asked] >> measure() >> decide()


monitor()
