"""A finished training → an MLflow run, and a registered version of its model. The same file of the same partition registers once."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import lightgbm as lgb
import mlflow
import numpy as np
import yaml
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from flightdeck.code import code_version
from flightdeck.ledger import Attempt
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from ml.dataset import load, matrix, split
from ml.features import FEATURES

GOLDEN_ROWS = 5
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.double, name, required=False) for name in FEATURES]),
    outputs=Schema([ColSpec(DataType.double)]),
)


def connect() -> mlflow.MlflowClient:
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": settings().secret("mlflow_admin")}
    mlflow.set_tracking_uri(settings().url("mlflow"))
    return mlflow.MlflowClient()


def log(workspace: Path, attempt: Attempt, snapshot_md5: str) -> dict[str, Any]:
    """Log the workspace's training as a run, register its model, and return the release that it would be served as."""
    client, model = connect(), workspace / "model" / "model.lgb"
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    name = parameters()["model"]["name"]
    mlflow.set_experiment(name)
    knobs = yaml.safe_load((workspace / "params.yaml").read_text())
    with mlflow.start_run(run_name=f"train {attempt.key}", tags={"partition_key": attempt.key, "attempt": str(attempt.number)}) as run:
        mlflow.log_params(knobs["train"]["parameters"] | {"rounds": knobs["train"]["rounds"], "holdout_days": knobs["snapshot"]["holdout_days"]})
        mlflow.log_metrics({name: value for name, value in json.loads((workspace / "metrics.json").read_text()).items() if value is not None})
        mlflow.set_tags({"code": code_version(), "snapshot_md5": snapshot_md5, "model_sha256": sha256})
        source = resolve_dataset_source(str(settings().home / "dvc" / "remote"))
        mlflow.log_input(MetaDataset(source, name="snapshot", digest=snapshot_md5), context="training")
        for file in ("dvc.yaml", "dvc.lock", "params.yaml"):
            mlflow.log_artifact(str(workspace / file))
        logged = mlflow.lightgbm.log_model(lgb.Booster(model_file=model), name="model", signature=SIGNATURE, pip_requirements=[f"lightgbm=={lgb.__version__}"])
    tags = {"sha256": sha256, "partition_key": attempt.key, "snapshot_md5": snapshot_md5, "code": code_version()}
    version = _register(client, name, logged, run.info.run_id, tags)
    release = {
        "model_version": version,
        "sha256": sha256,
        "artifact": f"{run.info.experiment_id}/models/{logged.model_id}/artifacts/model.lgb",
        "run_id": run.info.run_id,
        "features": FEATURES,
        "code": code_version(),
        "snapshot_md5": snapshot_md5,
        "partitions": sorted(knobs["snapshot"]["partitions"]),
        "golden": _golden(workspace, model),
    }
    return release


def _register(client: mlflow.MlflowClient, name: str, logged: Any, run_id: str, tags: dict[str, str]) -> int:
    """The version with this file of this partition; made only when there is none yet."""
    try:
        client.get_registered_model(name)
    except mlflow.MlflowException:
        client.create_registered_model(name)
    found = client.search_model_versions(f"name='{name}' and tags.sha256='{tags['sha256']}' and tags.partition_key='{tags['partition_key']}'")
    if found:
        return int(found[0].version)
    return int(client.create_model_version(name, logged.model_uri, run_id, tags=tags, model_id=logged.model_id).version)


def _golden(workspace: Path, model: Path) -> dict[str, list[Any]]:
    """A few rows with the answers that this file gives: whoever loads it must get the same. NaN travels as null."""
    _, evidence = split(load(workspace / "data"), parameters()["snapshot"]["holdout_days"])
    rows = matrix(evidence.slice(0, GOLDEN_ROWS))
    expected = np.asarray(lgb.Booster(model_file=model).predict(rows))
    return {"rows": [[None if np.isnan(value) else float(value) for value in row] for row in rows], "expected": expected.tolist()}
