"""DVC stage `evaluate`: the model on the evidence that it has not seen → metrics.json."""

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np
import yaml

from flightdeck.metrics import scores
from ml.dataset import load, matrix, split


def evaluate(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    _, evidence = split(load(workspace / "data"), parameters["snapshot"]["holdout_days"])
    booster = lgb.Booster(model_file=workspace / "model" / "model.lgb")
    found = scores(evidence["label"].to_numpy(), np.asarray(booster.predict(matrix(evidence))))
    (workspace / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    evaluate(Path.cwd())
