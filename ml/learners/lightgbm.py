"""Gradient boosted trees, in LightGBM's own text format."""

from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from ml.learners import InvalidModel, Matrix

FILE = "model.lgb"


class Trees:
    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster
        self.features = booster.feature_name()

    def predict(self, rows: Matrix) -> Matrix:
        try:
            return np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float64)
        except lgb.basic.LightGBMError as error:
            raise InvalidModel(f"it does not answer rows of {rows.shape[1]} features: {error}") from error

    def importance(self) -> dict[str, float]:
        gains = self.booster.feature_importance("gain")
        return dict(zip(self.features, (gains / max(gains.sum(), 1e-12)).tolist(), strict=True))


def fit(rows: Matrix, labels: npt.NDArray[np.int8], features: list[str], codes: list[str], settings: dict[str, Any]) -> str:
    """Trees split codes as well as numbers; `codes` changes nothing here."""
    data = lgb.Dataset(rows, label=labels, feature_name=features, free_raw_data=True)
    return str(lgb.train(settings["parameters"], data, num_boost_round=settings["rounds"]).model_to_string(num_iteration=-1))


def load(text: str) -> Trees:
    try:
        return Trees(lgb.Booster(model_str=text))
    except lgb.basic.LightGBMError as error:
        raise InvalidModel(f"not a LightGBM model: {error}") from error


def log(folder: str, text: str, **options: Any) -> None:
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(lgb.Booster(model_str=text), folder, pip_requirements=[f"lightgbm=={lgb.__version__}"], **options)
