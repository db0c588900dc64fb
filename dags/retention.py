"""retention: what has been kept for as long as params.yaml says is deleted, once a day.

Reads params.yaml. Writes ops.predictions, ops.alerts, quarantine.rows, who asked and their keys, log files, and ops.ledger.
Promises: what is gone is counted in the ledger; what the ledger itself says is never deleted.
"""

from airflow.sdk import dag, task

from flightdeck.orchestration import DAILY


@dag(tags=["platform"], doc_md=__doc__, **DAILY)
def retention() -> None:
    @task
    def retain() -> None:
        from governance.retention import retain

        retain()

    retain()


retention()
