"""canary: a task that only says that it ran; who looks at it knows that tasks run.

Reads nothing. Writes ops.canary, and a file of the state folder.
Promises: where its last run is older than some minutes, scheduler, executor, API server or warehouse do not work.
"""

from airflow.sdk import dag, task

from flightdeck.orchestration import EVERY_TWO_MINUTES


@dag(tags=["platform"], doc_md=__doc__, **EVERY_TWO_MINUTES)
def canary() -> None:
    @task
    def sing() -> None:
        from flightdeck.canary import sing

        sing()

    sing()


canary()
