"""lineage: what the ledger has come to know is told onward, as OpenLineage events, once an hour.

Reads ops.ledger. Writes ops.told, and a file of the state folder or the backend that OpenLineage's own variables name.
Promises: each row is told at least once; what a backend did not take is told the next time.
"""

from airflow.sdk import dag, task

from flightdeck.orchestration import HOURLY


@dag(tags=["platform"], doc_md=__doc__, **HOURLY)
def lineage() -> None:
    @task
    def emit() -> None:
        from governance.events import emit

        emit()

    emit()


lineage()
