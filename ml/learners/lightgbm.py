"""Gradient boosted trees, in LightGBM's own text format."""

import ctypes
import struct
import weakref
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from ml.learners import InvalidModel, Matrix

FILE = "model.lgb"


class Row:
    """One row at a time through LightGBM's C interface, whose answers are those of `Booster.predict` at a tenth of its time. For one thread only."""

    def __init__(self, text: str, width: int) -> None:
        # it holds Python's lock: a row takes microseconds, and whoever got the lock in between may keep it for milliseconds
        library = ctypes.PyDLL(str(next(Path(lgb.__file__).parent.glob("lib/lib_lightgbm.*"))))
        booster, rounds, self.config = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_void_p()
        if library.LGBM_BoosterLoadModelFromString(text.encode(), ctypes.byref(rounds), ctypes.byref(booster)):
            raise InvalidModel("not a LightGBM model")
        weakref.finalize(self, library.LGBM_BoosterFree, booster)
        # a probability, of all rounds, from doubles
        kind, first, all_of_them, doubles = 0, 0, -1, 1
        options = (booster, kind, first, all_of_them, doubles, width, b"num_threads=1", ctypes.byref(self.config))
        if library.LGBM_BoosterPredictForMatSingleRowFastInit(*options):
            raise InvalidModel(f"it does not answer rows of {width} features")
        weakref.finalize(self, library.LGBM_FastConfigFree, self.config)
        self.place = struct.Struct(f"{width}d")
        self.row, self.answer, self.length = (ctypes.c_double * width)(), ctypes.c_double(), ctypes.c_int64()
        self.arguments = (self.config, self.row, ctypes.byref(self.length), ctypes.byref(self.answer))
        self.call = library.LGBM_BoosterPredictForMatSingleRowFast

    def predict(self, row: list[float]) -> float:
        self.place.pack_into(self.row, 0, *row)
        if self.call(*self.arguments):
            raise InvalidModel("it does not answer")
        return self.answer.value


class Trees:
    def __init__(self, booster: lgb.Booster, text: str) -> None:
        self.booster = booster
        self.features = booster.feature_name()
        self.one = Row(text, len(self.features)).predict

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
        return Trees(lgb.Booster(model_str=text), text)
    except lgb.basic.LightGBMError as error:
        raise InvalidModel(f"not a LightGBM model: {error}") from error


def log(folder: str, text: str, **options: Any) -> None:
    import mlflow.lightgbm

    mlflow.lightgbm.save_model(lgb.Booster(model_str=text), folder, pip_requirements=[f"lightgbm=={lgb.__version__}"], **options)
