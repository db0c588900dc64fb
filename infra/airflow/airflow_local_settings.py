"""Loaded by every Airflow process. Tasks are forks of the scheduler, or of a worker: what it has imported, they need not import again.

Imports only: OpenMP must not have run in a process that forks.
"""

import os
import sys

# where a task is a pod of its own, the scheduler forks none
if {"scheduler", "worker"} & set(sys.argv) and os.environ.get("AIRFLOW__CORE__EXECUTOR") != "KubernetesExecutor":
    import gc
    import logging

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

    import dbt.cli.main
    import dbt.parser.manifest
    import dlt.destinations.impl.postgres.postgres
    import dvc.repo.commit
    import evidently.presets
    import great_expectations
    import lightgbm
    import mlflow.lightgbm
    import sklearn.metrics

    # what is imported stays: the forks' garbage collection need not look at it, nor copy its pages
    gc.collect()
    gc.freeze()
