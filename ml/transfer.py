"""A release goes from one environment to another as one file of text; there it becomes an experiment's run, and goes through that environment's gate."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from flightdeck import deployments, registry
from ml.learners import learner
from ml.tracking import DRAFT, TRIALS, connect, experiment_name, log_model


class TransferRefused(RuntimeError):
    """Nothing was taken in or written; the message says why."""


def export() -> str:
    """The release that serves, with its model, as JSON."""
    served = deployments.champion()
    if served is None:
        raise TransferRefused("nothing serves here yet")
    release = served["release"]
    return json.dumps({"release": release, "model": registry.model(release).decode()}, indent=1)


def take_in(document: str, place: str) -> str:
    """Log the release in `document`, which came from `place`, as a run of the experiments; returns its id. Raises TransferRefused.

    Nothing is trusted: the model must have the release's checksum and give its golden answers here.
    """
    try:
        content = json.loads(document)
        release, text = content["release"], content["model"]
        kind = learner(release["learner"])
        # first: LightGBM ends the process on some texts that were cut or changed
        if hashlib.sha256(text.encode()).hexdigest() != release["sha256"]:
            raise TransferRefused(f"{place}: the model is not the one that was released: its sha256 is another")
        _give_golden_answers(kind.load(text), release, place)
    except (ValueError, KeyError, TypeError) as error:
        raise TransferRefused(f"{place} is no release: {type(error).__name__}: {error}") from error
    import mlflow

    client = connect()
    experiment = mlflow.set_experiment(experiment_name(TRIALS)).experiment_id
    key = max(release["partitions"])
    tags = {"partition_key": key, "taken_in": place, "model_sha256": release["sha256"], "code": release["code"], "snapshot_md5": release["snapshot_md5"]}
    run = client.create_run(experiment, run_name=f"release of {key}, taken in", tags=tags)
    with tempfile.TemporaryDirectory() as folder:
        model_id = log_model(client, Path(folder), run.info, text, release["learner"], release["golden"])
        here = {"run_id": run.info.run_id, "model_id": model_id, "artifact": f"{experiment}/models/{model_id}/artifacts/{kind.FILE}"}
        draft = {name: value for name, value in release.items() if name != "model_version"} | here
        (Path(folder) / DRAFT).write_text(json.dumps(draft, indent=2) + "\n")
        client.log_artifact(run.info.run_id, str(Path(folder) / DRAFT))
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _give_golden_answers(model: Any, release: dict[str, Any], place: str) -> None:
    import numpy as np

    rows = np.array(release["golden"]["rows"], dtype=np.float64)
    if model.features != release["features"] or model.predict(rows).tolist() != release["golden"]["expected"]:
        raise TransferRefused(f"{place}: the model does not give the release's golden answers here")
