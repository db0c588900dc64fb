"""A finished training → an MLflow run, and a registered version of its model. The same file of the same partition registers once."""

import csv
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import yaml
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.time import get_current_time_millis

from flightdeck import evidence
from flightdeck.code import code_version
from flightdeck.parameters import flat, parameters
from flightdeck.settings import settings
from ml import environment
from ml.dataset import judged
from ml.features import FEATURES
from ml.learners import learner
from ml.model_tests import failures, latency
from ml.train import PROFILE

# MLflow's experiments: what the loop trains, and what people try
TRAINING, TRIALS = "training", "experiments"
DRAFT = "release.json"
GOLDEN_ROWS = 5
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.double, name, required=False) for name in FEATURES]),
    outputs=Schema([ColSpec(DataType.double)]),
)


def connect() -> mlflow.MlflowClient:
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": settings().secret("mlflow_admin")}
    mlflow.set_tracking_uri(settings().url("mlflow"))
    return mlflow.MlflowClient()


def experiment_name(kind: str) -> str:
    return f"{parameters()['model']['name']}/{kind}"


def log(workspace: Path, kind: str, name: str, snapshot_md5: str, tags: dict[str, str]) -> dict[str, Any]:
    """Log the workspace's training as a run of the experiment `kind`; returns the release that its model would be served as, but for a version."""
    client = connect()
    knobs = yaml.safe_load((workspace / "params.yaml").read_text())
    kind_of_model = learner(knobs["train"]["learner"])
    text = (workspace / "model" / kind_of_model.FILE).read_text()
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    metrics, tested, golden = _evidence(workspace)
    failed = failures(tested)
    experiment = mlflow.set_experiment(experiment_name(kind)).experiment_id
    tags |= {"code": code_version(), "snapshot_md5": snapshot_md5, "model_sha256": sha256, "model_tests": "; ".join(failed) or "passed"}
    tags |= {"mlflow.source.git.commit": code_version().split("+")[0], "mlflow.source.name": "ml/pipeline.py"}
    tags |= {f"{environment.TAG}{name}": version for name, version in environment.versions().items()}
    if kind == TRAINING:
        _end_what_was_killed(client, experiment, tags["partition_key"])
    run = client.create_run(experiment, run_name=name, tags=tags)
    try:
        model_id = log_model(client, workspace, run.info, text, knobs["train"]["learner"], golden)
        _log_values(client, run.info.run_id, model_id, knobs, metrics)
        with warnings.catch_warnings():
            # two of its own kinds of source take a folder
            warnings.simplefilter("ignore", UserWarning)
            source = resolve_dataset_source(settings().dvc_remote)
        dataset = MetaDataset(source, name="snapshot", digest=snapshot_md5)._to_mlflow_entity()
        client.log_inputs(run.info.run_id, [mlflow.entities.DatasetInput(dataset, [mlflow.entities.InputTag("mlflow.data.context", "training")])])
        draft = {
            "sha256": sha256,
            "learner": knobs["train"]["learner"],
            "artifact": f"{experiment}/models/{model_id}/artifacts/{kind_of_model.FILE}",
            "model_id": model_id,
            "run_id": run.info.run_id,
            "features": FEATURES,
            "code": code_version(),
            "snapshot_md5": snapshot_md5,
            "snapshot": _snapshot(workspace),
            "partitions": sorted(knobs["snapshot"]["partitions"]),
            "golden": golden,
            "profile": json.loads((workspace / "model" / PROFILE).read_text()),
            "metrics": metrics,
            "failures": failed,
        }
        (workspace / DRAFT).write_text(json.dumps(draft, indent=2) + "\n")
        (workspace / "tests.json").write_text(json.dumps(tested, indent=2) + "\n")
        _draw(workspace / "plots", metrics)
        for file in ("dvc.yaml", "dvc.lock", "params.yaml", "metrics.json", "tests.json", DRAFT):
            client.log_artifact(run.info.run_id, str(workspace / file))
        client.log_artifacts(run.info.run_id, str(workspace / "plots"), "plots")
        (workspace / environment.BILL).write_text(environment.bill())
        client.log_artifact(run.info.run_id, str(workspace / environment.BILL), evidence.FOLDER)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id)
    return draft


def _snapshot(workspace: Path) -> dict[str, str]:
    """{partition: the md5 of its file}, under which DVC's stores have it."""
    stages = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    return {name.partition("@")[2]: found["outs"][0]["md5"] for name, found in stages.items() if name.startswith("snapshot@")}


def _end_what_was_killed(client: mlflow.MlflowClient, experiment: str, key: str) -> None:
    """Runs of an earlier try that nobody has ended: the ledger lets only one try at a time get here."""
    for run in client.search_runs([experiment], f"tags.partition_key = '{key}' and attributes.status = 'RUNNING'"):
        client.set_terminated(run.info.run_id, "KILLED")


def register(draft: dict[str, Any], key: str) -> dict[str, Any]:
    """The release of `draft`: with the version of this file of this partition, which is made only when there is none yet."""
    client, name = connect(), parameters()["model"]["name"]
    try:
        client.get_registered_model(name)
    except mlflow.MlflowException:
        client.create_registered_model(name)
    tags = {"sha256": draft["sha256"], "partition_key": key, "snapshot_md5": draft["snapshot_md5"], "code": draft["code"]}
    tags["model_tests"] = "; ".join(draft["failures"]) or "passed"
    found = client.search_model_versions(f"name='{name}' and tags.sha256='{draft['sha256']}' and tags.partition_key='{key}'")
    if not found:
        source = f"models:/{draft['model_id']}"
        made = client.create_model_version(name, source, draft["run_id"], tags=tags, model_id=draft["model_id"], await_creation_for=None)
        return {"model_version": int(made.version), **draft}
    # a version that a try before this one has made: its run and its file are the ones that count
    version, file = found[0], Path(draft["artifact"]).name
    model_id = version.source.removeprefix("models:/")
    experiment = client.get_run(version.run_id).info.experiment_id
    before = {"run_id": version.run_id, "model_id": model_id, "artifact": f"{experiment}/models/{model_id}/artifacts/{file}"}
    return {"model_version": int(version.version), **draft, **before}


def _evidence(workspace: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(metrics, model tests with latency, golden rows with the answers of this file: whoever loads it must get the same; NaN travels as null)."""
    knobs, model, rows, _ = judged(workspace)
    tested = [*json.loads((workspace / "tests.json").read_text()), latency(model, rows, knobs["tests"])]
    some = rows[:GOLDEN_ROWS]
    golden = {"rows": [[None if np.isnan(value) else float(value) for value in row] for row in some], "expected": model.predict(some).tolist()}
    return json.loads((workspace / "metrics.json").read_text()), tested, golden


def log_model(client: mlflow.MlflowClient, workspace: Path, run: Any, text: str, name: str, golden: dict[str, Any]) -> str:
    """The model with its signature and example, its file as it is; returns its id."""
    folder = str(workspace / "logged")
    example = pd.DataFrame(golden["rows"], columns=FEATURES, dtype=np.float64)
    learner(name).log(folder, text, signature=SIGNATURE, input_example=example)
    if (Path(folder) / learner(name).FILE).read_text() != text:
        raise RuntimeError(f"MLflow has not saved the {name} model as it was trained: its bytes differ")
    logged = client.create_logged_model(run.experiment_id, "model", run.run_id, model_type=name)
    client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)


def _log_values(client: mlflow.MlflowClient, run_id: str, model_id: str, knobs: dict[str, Any], metrics: dict[str, Any]) -> None:
    name, now = knobs["train"]["learner"], get_current_time_millis()
    told = {"learner": name, "holdout_days": knobs["snapshot"]["holdout_days"], **flat(knobs["train"][name], leaves=True)}
    values = flat({name: value for name, value in metrics.items() if name != "segments"})
    values |= {f"{segment}/{metric}": value for segment, found in metrics["segments"].items() for metric, value in found.items()}
    client.log_batch(
        run_id,
        [Metric(name, value, now, 0, model_id=model_id) for name, value in values.items() if value is not None],
        [Param(name, str(value)) for name, value in told.items()],
        [RunTag("partitions", str(len(knobs["snapshot"]["partitions"])))],
    )


def _draw(folder: Path, metrics: dict[str, Any]) -> None:
    """The plots beside the files that they are drawn from, for people who look at the run."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    def read(name: str) -> list[dict[str, str]]:
        with (folder / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def save(figure: Figure, name: str) -> None:
        FigureCanvasSVG(figure)
        figure.savefig(folder / f"{name}.svg")

    def square(title: str, rows: list[dict[str, str]], x: str, y: str) -> Figure:
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot(title=title, xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        axes.plot([float(row[x]) for row in rows], [float(row[y]) for row in rows], marker="o" if len(rows) < 50 else None)
        return figure

    def bars(title: str, values: Mapping[str, float]) -> Figure:
        figure = Figure(figsize=(6, 1 + 0.25 * len(values)), layout="constrained")
        figure.add_subplot(title=title).barh(list(values), list(values.values()))
        return figure

    title = f"ROC on the evidence, AUC {metrics['auc']:.3f}" if metrics["auc"] is not None else "ROC on the evidence"
    save(square("Calibration on the evidence, by tenths", read("calibration.csv"), "predicted", "observed"), "calibration")
    save(square(title, read("roc.csv"), "false_positive_rate", "true_positive_rate"), "roc")
    save(bars("Importance", {row["feature"]: float(row["share"]) for row in reversed(read("importance.csv"))}), "importance")
    save(bars("Log loss on the evidence, by segment", {name: found["log_loss"] for name, found in metrics["segments"].items()}), "segments")
