"""ingest: every source's rows of a partition → landing → checked → raw and quarantine.

Reads the sources as of the partition's closing. Writes landing, raw, quarantine.rows, ops.ledger.
Promises: the partition's rows are in raw once, or in quarantine with their reason; raw changes in one transaction or not at all;
what came late for other partitions reopens them.
"""

from typing import Any

from airflow.sdk import CronPartitionTimetable, dag, task

from flightdeck.orchestration import CLOSED, RAW, defaults


@dag(schedule=CronPartitionTimetable(**CLOSED), tags=["data"], doc_md=__doc__, **defaults(2))
def ingest() -> None:
    @task
    def load(dag_run: Any = None) -> dict[str, Any]:
        from ingestion.load import load

        return load(dag_run.partition_key)

    @task
    def check(attempt: dict[str, Any]) -> dict[str, Any]:
        from expectations.check import check_landing

        return check_landing(attempt)

    @task(outlets=[RAW])
    def publish(attempt: dict[str, Any]) -> None:
        from ingestion.publish import publish

        publish(attempt)

    @task
    def reopen_changed(dag_run: Any = None) -> list[str]:
        from ingestion.late import reopen

        return reopen(dag_run.partition_key)

    landed = load()
    published = publish(check(landed))
    landed >> reopen_changed() >> published


ingest()
