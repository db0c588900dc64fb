"""Learners: from labelled rows to the text of a model file, and from that text to probabilities.

A learner is a module of this folder with `fit`, `load` and `FILE`; `train.learner` in params.yaml names it. Training, the gate, serving and
monitoring all get probabilities here. A model file is text in a format of data: nothing in it is deserialized into code.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
NAMES = ["lightgbm", "logistic"]


class InvalidModel(ValueError):
    """The text is no model of its learner; the message says why."""


class Model(Protocol):
    """A model that was loaded from its file."""

    features: list[str]

    def predict(self, rows: Matrix) -> Matrix:
        """Probabilities, shape (n,), of rows of shape (n, len(features)); NaN is a missing value. A row's does not depend on its neighbours."""

    def one(self, row: list[float]) -> float:
        """The same for one row, without an array; for one thread at a time."""

    def importance(self) -> dict[str, float]:
        """{feature: its share of what the model does with all of them}."""


class Learner(Protocol):
    # the model file's name
    FILE: str

    def fit(self, rows: Matrix, labels: npt.NDArray[np.int8], features: list[str], codes: list[str], settings: dict[str, Any]) -> str:
        """The text of the model file; the same rows and settings give the same text. `codes` are features whose numbers are names."""

    def load(self, text: str) -> Model:
        """The model in a file's text; raises InvalidModel."""

    def log(self, folder: str, text: str, **options: Any) -> None:
        """Save an MLflow model into `folder`, the model file in it as it is."""


def learner(name: str) -> Learner:
    """The learner by its name in params.yaml; raises ValueError."""
    if name not in NAMES:
        raise ValueError(f"train.learner: {name!r} is not one of {', '.join(NAMES)}")
    module: Learner = import_module(f"ml.learners.{name}")
    return module


def load(release: dict[str, Any], fetch: Callable[[dict[str, Any]], bytes] | None = None) -> Model:
    """The model of a release, from its file in the registry or where `fetch` has it from; raises InvalidModel, or RegistryError when its bytes are not
    the released ones."""
    if fetch is None:
        # the registry's client is nothing that a DVC stage needs
        from flightdeck import registry

        fetch = registry.model
    return learner(release["learner"]).load(fetch(release).decode())
