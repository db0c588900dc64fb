"""The model tests pass a sound model, and each of them fails the broken one that it is there for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flightdeck.parameters import parameters
from ml.dataset import matrix
from ml.features import CODES, FEATURES
from ml.learners import Matrix, Model, learner
from ml.model_tests import failures, latency, results
from tests.ml.rows import table

LIMITS = parameters()["tests"]
SEEN, UNSEEN = table("1999-01", 4000), table("1999-02", 3000)
ROWS, LABELS = matrix(UNSEEN), UNSEEN["label"].to_numpy()
HOUR = FEATURES.index("minute_of_day")


class Broken:
    """A model whose answers are bent by `bend(rows, answers)`."""

    features = FEATURES

    def __init__(self, model: Model, bend: Callable[[Matrix, Matrix], Any]) -> None:
        self.model, self.bend = model, bend

    def predict(self, rows: Matrix) -> Matrix:
        return np.asarray(self.bend(rows, self.model.predict(rows)), dtype=np.float64)

    def importance(self) -> dict[str, float]:
        return self.model.importance()


@pytest.fixture(scope="module")
def model() -> Model:
    kind = learner("lightgbm")
    return kind.load(kind.fit(matrix(SEEN), SEEN["label"].to_numpy(), FEATURES, CODES, parameters()["train"]["lightgbm"]))


def test_a_sound_model_passes_all(model: Model) -> None:
    found = results(model, ROWS, LABELS, LIMITS)
    assert {each["test"].split(":")[0].split("/")[0] for each in found} == {"invariance", "direction", "smallest", "calibration", "segment"}
    assert failures(found) == []
    assert len(found) > 8


@pytest.mark.parametrize(
    ("name", "bend"),
    [
        ("invariance/neighbours", lambda rows, answers: answers * 0.9 + answers.mean() * 0.1),
        ("invariance/noise", lambda rows, answers: np.modf(np.nan_to_num(rows[:, FEATURES.index("temp")]) * 0.7)[0] ** 2),
        ("direction/rain", lambda rows, answers: 1 - answers),
        ("direction/visibility", lambda rows, answers: rows[:, FEATURES.index("visib")] / 20),
        ("direction/evening", lambda rows, answers: 1 - rows[:, HOUR] / 1440),
        ("smallest/storm", lambda rows, answers: np.full(len(rows), 0.3)),
        ("calibration", lambda rows, answers: answers**0.1),
        ("segment/carriers/large", lambda rows, answers: np.full(len(rows), 0.3)),
    ],
)
def test_a_broken_model_fails_the_test_that_is_there_for_it(model: Model, name: str, bend: Callable[[Matrix, Matrix], Any]) -> None:
    found = failures(results(Broken(model, bend), ROWS, LABELS, LIMITS))
    assert [failure for failure in found if failure.startswith(name)]


def test_a_segment_with_few_rows_or_one_sided_labels_says_nothing(model: Model) -> None:
    assert not [each for each in results(model, ROWS[:400], LABELS[:400], LIMITS) if each["test"].startswith("segment")]
    assert not [each for each in results(model, ROWS, np.zeros_like(LABELS), LIMITS) if each["test"].startswith("segment")]


def test_a_slow_model_fails(model: Model) -> None:
    assert failures([latency(model, ROWS, LIMITS)]) == []
    [failure] = failures([latency(model, ROWS, LIMITS | {"most_milliseconds": 0.0001})])
    assert failure.startswith("latency: median milliseconds of one row")
