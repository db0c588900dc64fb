"""canary: a task that only says that it ran; who looks at it knows that tasks run.

Reads nothing. Writes ops.canary.
Promises: where its last run is older than some minutes, scheduler, executor, API server or warehouse do not work.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task


@dag(schedule=timedelta(minutes=2), start_date=datetime(2013, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1, tags=["platform"], doc_md=__doc__)
def canary() -> None:
    @task(retries=0, priority_weight=10, weight_rule="absolute")
    def sing() -> None:
        from flightdeck.canary import sing

        sing()

    sing()


canary()
