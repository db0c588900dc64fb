"""DVC stage `train`: data/ → model/, in the learner's own text format."""

from pathlib import Path

import yaml

from ml.dataset import load, matrix, split
from ml.features import CODES, FEATURES
from ml.learners import learner


def train(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    rows, _ = split(load(workspace / "data"), parameters["snapshot"]["holdout_days"])
    name = parameters["train"]["learner"]
    text = learner(name).fit(matrix(rows), rows["label"].to_numpy(), FEATURES, CODES, parameters["train"][name])
    (workspace / "model").mkdir()
    (workspace / "model" / learner(name).FILE).write_text(text)


if __name__ == "__main__":
    train(Path.cwd())
