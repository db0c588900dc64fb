"""train: where it was decided, a challenger from all published partitions, and the gate's verdict on it.

Reads marts. Writes DVC's cache and remote, an MLflow run, a registered version, ops.ledger.
Promises: the same rows and parameters give the same model file; what judges a model is what it has not seen.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

from flightdeck.orchestration import DECISION, VERDICT, AwaitLedger, defaults


@dag(schedule=PartitionedAssetTimetable(assets=DECISION), tags=["learning"], doc_md=__doc__, **defaults(5))
def train() -> None:
    # a partition that was reopened meanwhile is out of sight until it is built anew
    settled = AwaitLedger(task_id="await_partitions", earlier="transform", own=["transform"])

    @task(task_id="train")
    def train_challenger(dag_run: Any = None) -> None:
        from ml.pipeline import train

        train(dag_run.partition_key)

    @task(outlets=[VERDICT])
    def gate(dag_run: Any = None) -> None:
        from ml.gate import gate

        gate(dag_run.partition_key)

    settled >> train_challenger() >> gate()


train()
