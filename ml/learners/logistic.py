"""Logistic regression, as JSON: a constant, a weight for each scaled number, for each missing one, and for each code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.learners import InvalidModel, Matrix

FILE = "model.json"
EXAMPLE = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}


class Weights:
    """{"features", "intercept", "numbers": {feature: [mean, scale, weight, weight where missing]}, "codes": {feature: {code: weight}}}"""

    def __init__(self, content: dict[str, Any]) -> None:
        self.features: list[str] = content["features"]
        self.content = content
        # by feature, in order of the codes: to be searched
        self.codes = {name: np.array(sorted((float(code), weight) for code, weight in known.items())).T for name, known in content["codes"].items()}

    def parts(self, rows: Matrix) -> Matrix:
        """What each feature adds to a row's score, shape (n, len(features)); a code that was not trained on adds nothing."""
        parts = np.zeros((len(rows), len(self.features)))
        for place, name in enumerate(self.features):
            column = rows[:, place]
            if name in self.content["numbers"]:
                mean, scale, weight, missing = self.content["numbers"][name]
                parts[:, place] = np.where(np.isnan(column), missing, (column - mean) / scale * weight)
            else:
                codes, weights = self.codes[name]
                nearest = np.minimum(np.searchsorted(codes, column), len(codes) - 1)
                parts[:, place] = np.where(codes[nearest] == column, weights[nearest], 0.0)
        return parts

    def predict(self, rows: Matrix) -> Matrix:
        # column by column, and no matrix product: so a row's sum is the same alone and among others
        score = np.full(len(rows), self.content["intercept"])
        for part in self.parts(rows).T:
            score = score + part
        return np.asarray(1 / (1 + np.exp(-score)), dtype=np.float64)

    def one(self, row: list[float]) -> float:
        return float(self.predict(np.array([row], dtype=np.float64))[0])

    def importance(self) -> dict[str, float]:
        """By the largest weight of a feature: numbers are scaled, so that weights can be compared."""
        sizes = {name: max(abs(weight) for weight in values[2:]) for name, values in self.content["numbers"].items()}
        sizes |= {name: max(map(abs, weights.values())) for name, weights in self.content["codes"].items()}
        return {name: sizes[name] / max(sum(sizes.values()), 1e-12) for name in self.features}


def fit(rows: Matrix, labels: npt.NDArray[np.int8], features: list[str], codes: list[str], settings: dict[str, Any]) -> str:
    """`settings`: scikit-learn's own names."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    columns, scales, known = [], {}, {}
    for place, name in enumerate(features):
        column = rows[:, place]
        if name in codes:
            values = np.unique(column[~np.isnan(column)])
            known[name] = values
            columns += [column == value for value in values]
        else:
            there = ~np.isnan(column)
            mean, scale = (float(np.mean(column[there])), float(np.std(column[there])) or 1.0) if there.any() else (0.0, 1.0)
            scales[name] = [mean, scale]
            columns += [np.where(there, (column - mean) / scale, 0.0), ~there]
    table = sparse.hstack([sparse.csc_matrix(column.astype(np.float64)[:, None]) for column in columns], format="csr")
    model = LogisticRegression(**settings["parameters"]).fit(table, labels)
    weights = iter(model.coef_[0].tolist())
    content: dict[str, Any] = {"features": features, "intercept": float(model.intercept_[0]), "numbers": {}, "codes": {}}
    for name in features:
        if name in known:
            content["codes"][name] = {str(value): next(weights) for value in known[name].tolist()}
        else:
            content["numbers"][name] = [*scales[name], next(weights), next(weights)]
    return json.dumps(content, indent=1) + "\n"


def load(text: str) -> Weights:
    try:
        content = json.loads(text)
        if sorted([*content["numbers"], *content["codes"]]) != sorted(content["features"]):
            raise InvalidModel("not a logistic model: its features and its weights do not match")
        return Weights(content)
    except (ValueError, KeyError, TypeError) as error:
        raise error if isinstance(error, InvalidModel) else InvalidModel(f"not a logistic model: {type(error).__name__}: {error}") from error


def log(folder: str, text: str, **options: Any) -> None:
    from mlflow.models import Model

    example = options.pop("input_example")
    Path(folder).mkdir(parents=True)
    (Path(folder) / FILE).write_text(text)
    (Path(folder) / EXAMPLE["artifact_path"]).write_text(example.to_json(orient="split", index=False))
    # a flavour of its own: MLflow's for scikit-learn are pickles
    model = Model(saved_input_example_info=EXAMPLE, **options)
    model.add_flavor("logistic", data=FILE)
    model.save(str(Path(folder) / "MLmodel"))
