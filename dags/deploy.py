"""deploy: a promoted challenger serves from the next partition on; a refused one changes nothing.

Reads ops.ledger. Writes ops.deployments, the registry's alias, ops.ledger.
Promises: the release is checked before it serves; at the end the service is ready for the next partition. Where params.yaml asks for it,
a person confirms each promotion first, under Required Actions.
"""

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, chain, dag, task

from flightdeck.orchestration import VERDICT, approval, defaults


@dag(schedule=PartitionedAssetTimetable(assets=VERDICT), tags=["learning"], doc_md=__doc__, **defaults(6))
def deploy() -> None:
    @task(task_id="deploy")
    def deploy_release(dag_run: Any = None) -> None:
        from serving.deploy import deploy

        deploy(dag_run.partition_key)

    chain(*approval(), deploy_release())


deploy()
