"""DVC stage `evaluate`: the model on the evidence that it has not seen → metrics.json."""

import json
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import yaml
from sklearn.metrics import log_loss, roc_auc_score

from ml.dataset import load, matrix, split


def metrics(labels: "np.ndarray[Any, Any]", probabilities: "np.ndarray[Any, Any]") -> dict[str, float | int | None]:
    """Log loss, area under the ROC curve, rows, and the share of positive labels; no AUC where all labels are one."""
    both = 0 < labels.mean() < 1
    return {
        "rows": len(labels),
        "base_rate": float(labels.mean()),
        "log_loss": float(log_loss(labels, probabilities, labels=[0, 1])),
        "auc": float(roc_auc_score(labels, probabilities)) if both else None,
    }


def evaluate(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    _, evidence = split(load(workspace / "data"), parameters["snapshot"]["holdout_days"])
    booster = lgb.Booster(model_file=workspace / "model" / "model.lgb")
    found = metrics(evidence["label"].to_numpy(), np.asarray(booster.predict(matrix(evidence))))
    (workspace / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    evaluate(Path.cwd())
