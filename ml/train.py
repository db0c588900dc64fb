"""DVC stage `train`: data/ → model/, in the learner's own text format, with the profile of what it was trained on."""

import json
from pathlib import Path
from typing import Any

import yaml

from flightdeck import shift
from ml.dataset import load, matrix, split
from ml.features import CODES, FEATURES
from ml.learners import Matrix, Model, learner

PROFILE = "profile.json"
# every so manieth row will do: a profile of more gets no better
PROFILED_ROWS = 20_000


def train(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    rows, _ = split(load(workspace / "data"), parameters["snapshot"]["holdout_days"])
    name = parameters["train"]["learner"]
    values = matrix(rows)
    text = learner(name).fit(values, rows["label"].to_numpy(), FEATURES, CODES, parameters["train"][name])
    (workspace / "model").mkdir()
    (workspace / "model" / learner(name).FILE).write_text(text)
    (workspace / "model" / PROFILE).write_text(json.dumps(profile(values, learner(name).load(text))) + "\n")


def profile(rows: Matrix, model: Model) -> dict[str, Any]:
    """What the model was trained on, and its answers to it, as flightdeck/shift.py keeps them: {feature or `probability`: bins}."""
    some = rows[:: max(1, len(rows) // PROFILED_ROWS)]
    return shift.profile(dict(zip(FEATURES, some.T, strict=True)) | {"probability": model.predict(some)})


if __name__ == "__main__":
    train(Path.cwd())
