"""world: the worked example's outside world asks for each flight of a month. A platform on other sources does without it.

Reads what serves. Writes ops.predictions (through the service), ops.ledger.
Promises: a month is asked once, after the month before has been deployed; at the end each answer is in the prediction log.
"""

from typing import Any

from airflow.sdk import CronPartitionTimetable, dag, task

from flightdeck.orchestration import CLOSED, AwaitLedger, defaults


@dag(schedule=CronPartitionTimetable(**CLOSED), tags=["world"], doc_md=__doc__, **defaults(2))
def world() -> None:
    earlier = AwaitLedger(task_id="await_earlier", earlier="deploy", own=["plan"])

    @task
    def requests(dag_run: Any = None) -> None:
        from flightdeck.ledger import record
        from flightdeck.predictions import logged
        from world.requests import send

        record("requests", dag_run.partition_key, logged(send))

    earlier >> requests()


world()
