"""Experiments: the same pipeline with other parameters, under MLflow's experiments; the registry and what serves stay as they are.

One of them becomes a challenger by `promote`, through the same registration, the same gate and the same deployment as any training.
"""

import getpass
import json
import os
from collections.abc import Callable
from typing import Any

import yaml
from mlflow.exceptions import MlflowException

from flightdeck import deployments, ledger, registry
from flightdeck.airflow_api import Airflow
from flightdeck.parameters import changed, parameters
from flightdeck.warehouse import Row
from ml import gate, pipeline
from ml.tracking import DRAFT, TRIALS, connect, experiment_name, log


class ExperimentRefused(RuntimeError):
    """It cannot be run or promoted as it is; the message says what to do."""


def newest(key: str | None) -> str:
    """The partition to try on: `key`, or the newest published one. Raises ExperimentRefused."""
    keys = ledger.published()
    if not keys or (key and key not in keys):
        raise ExperimentRefused(f"{key or 'no partition'} is published; there are {', '.join(keys) or 'none yet: flightdeck replay FROM TO'}")
    return key or keys[-1]


def trials(settings: list[str], key: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run each combination of settings on the partitions up to `key`; then the champion's scores on the same evidence, if there is one.

    Returns rows {"run_id", "settings", "log_loss", "auc", "calibration", "failures"}, the best first, the champion's with its version.
    """
    chosen = changed(parameters(), settings)
    rows = []
    for number, (values, knobs) in enumerate(chosen, 1):
        name = ", ".join(f"{path.rpartition('.')[2]}={value}" for path, value in values.items()) or "as it is"
        tell(f"{number} of {len(chosen)}: {name}")
        with pipeline.workspace(f"experiment-{key}-{os.getpid()}-{number}", pipeline.with_partitions(knobs, key)) as folder:
            md5 = pipeline.run(folder)
            draft = log(folder, TRIALS, name, md5, {"partition_key": key, "settings": json.dumps(values)})
        rows.append({"run_id": draft["run_id"], "settings": name, "failures": draft["failures"], **_figures(draft["metrics"])})
    champion = (deployments.champion() or {}).get("release")
    if champion and (why := gate.unable(champion)):
        tell(f"not compared: {why}")
    elif champion and (scores := gate.gather(key, champion, None).challenger):
        seen = ", which was trained on this evidence" if max(champion["partitions"]) > key else ""
        rows.append({"run_id": champion["run_id"], "settings": f"the champion, version {champion['model_version']}{seen}", "failures": [], **_figures(scores)})
    return sorted(rows, key=lambda row: float(row["log_loss"]))


def _figures(found: Any) -> dict[str, Any]:
    return {name: found[name] for name in ("log_loss", "auc", "calibration")}


def _read(run: Any) -> dict[str, Any]:
    """What the run was trained on, as `train` notes it; of one that was taken in from elsewhere, nothing that is here."""
    if "taken_in" in run.data.tags:
        return {}
    knobs = yaml.safe_load(registry.artifact(f"{run.info.experiment_id}/{run.info.run_id}/artifacts/params.yaml"))
    return {"transform": {key: wanted["attempt"] for key, wanted in knobs["snapshot"]["partitions"].items()}}


def promote(run_id: str) -> Row:
    """Register the run's model as a challenger of its newest partition, and start `train` for it, which judges and deploys; returns the ledger's row.

    The ledger gets a new attempt of `train`, and so of what follows on it; the earlier ones stay in it.
    """
    client = connect()
    trying = client.get_experiment_by_name(experiment_name(TRIALS))
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise ExperimentRefused(f"MLflow has no run {run_id}: {error}") from None
    if trying is None or run.info.experiment_id != trying.experiment_id:
        raise ExperimentRefused(f"run {run_id} is none of the experiment {experiment_name(TRIALS)}")
    key = run.data.tags["partition_key"]
    if key != newest(None):
        raise ExperimentRefused(f"it was trained up to {key}, and {newest(None)} is published: run it again, so that the newest evidence judges it")
    draft = json.loads(registry.artifact(f"{run.info.experiment_id}/{run_id}/artifacts/{DRAFT}"))
    with ledger.step(ledger.begin("train", key)) as attempt:
        attempt.inputs = {"experiment": run_id, **_read(run)}
        attempt.facts = {"reasons": [f"experiment {run_id}: {run.info.run_name}"], "by": getpass.getuser()}
        pipeline.take_up(attempt, draft)
        attempt.record("done")
    Airflow().trigger("train", key)
    row = ledger.last("train", key)
    assert row is not None
    return row
