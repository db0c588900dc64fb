"""DVC stage `train`: data/ → model/model.lgb, LightGBM's own text format."""

from pathlib import Path

import lightgbm as lgb
import yaml

from ml.dataset import load, matrix, split
from ml.features import FEATURES


def train(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    rows, _ = split(load(workspace / "data"), parameters["snapshot"]["holdout_days"])
    settings = parameters["train"]
    data = lgb.Dataset(matrix(rows), label=rows["label"].to_numpy(), feature_name=FEATURES, free_raw_data=True)
    booster = lgb.train(settings["parameters"], data, num_boost_round=settings["rounds"])
    (workspace / "model").mkdir()
    booster.save_model(workspace / "model" / "model.lgb")


if __name__ == "__main__":
    train(Path.cwd())
