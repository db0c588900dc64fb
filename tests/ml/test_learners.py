"""Learners: what is fitted is loaded from text as it was, the same rows give the same text, and what is no model is refused by name."""

import json
from typing import Any

import numpy as np
import pytest

from flightdeck.metrics import scores
from flightdeck.parameters import parameters
from ml.dataset import matrix
from ml.features import CODES, FEATURES
from ml.learners import NAMES, InvalidModel, learner
from tests.ml.rows import table

ROWS = table("1999-01", 3000)


def fit(name: str, rows: Any = ROWS) -> str:
    return learner(name).fit(matrix(rows), rows["label"].to_numpy(), FEATURES, CODES, parameters()["train"][name])


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param, fit(request.param)


def test_there_is_more_than_one_learner() -> None:
    assert len(NAMES) == 2
    with pytest.raises(ValueError, match=r"train\.learner: 'oracle' is not one of lightgbm, logistic"):
        learner("oracle")


def test_a_model_knows_more_than_the_base_rate(fitted: tuple[str, str]) -> None:
    name, text = fitted
    other = table("1999-02", 2000)
    model = learner(name).load(text)
    found = scores(other["label"].to_numpy(), model.predict(matrix(other)))
    assert model.features == FEATURES
    assert found["auc"] > 0.9
    assert abs(found["calibration"]) < 0.05


def test_the_same_rows_give_the_same_text(fitted: tuple[str, str]) -> None:
    assert fit(fitted[0]) == fitted[1]


def test_a_rows_answer_does_not_depend_on_its_neighbours(fitted: tuple[str, str]) -> None:
    model, rows = learner(fitted[0]).load(fitted[1]), matrix(ROWS)[:100]
    together = model.predict(rows).tolist()
    assert [model.predict(row[None, :])[0] for row in rows] == together
    assert model.predict(rows[::-1].copy()).tolist() == together[::-1]


def test_what_is_missing_or_was_never_seen_has_an_answer(fitted: tuple[str, str]) -> None:
    model = learner(fitted[0]).load(fitted[1])
    rows = np.array([[np.nan] * len(FEATURES), [1e9] * len(FEATURES), [-1.0] * len(FEATURES)])
    answers = model.predict(rows)
    assert np.isfinite(answers).all()
    assert ((answers >= 0) & (answers <= 1)).all()


def test_importance_is_a_share_and_names_what_the_label_follows(fitted: tuple[str, str]) -> None:
    found = learner(fitted[0]).load(fitted[1]).importance()
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == set(FEATURES)
    assert max(found, key=lambda name: found[name]) == "minute_of_day"


@pytest.mark.parametrize("text", ["", "garbage", "{}", '{"features": ["a"], "numbers": {}, "codes": {}}', "tree\nversion=v4\n"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_model_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidModel):
        learner(name).load(text)


def test_a_logistic_model_is_sums_that_a_person_can_check() -> None:
    content = {"features": ["a", "c"], "intercept": -1.0, "numbers": {"a": [10.0, 2.0, 0.5, 0.25]}, "codes": {"c": {"3.0": 1.5, "7.0": -1.0}}}
    model = learner("logistic").load(json.dumps(content))
    rows = np.array([[12.0, 3.0], [np.nan, 7.0], [10.0, 5.0]])
    assert model.predict(rows) == pytest.approx([1 / (1 + np.exp(-score)) for score in (-1 + 0.5 + 1.5, -1 + 0.25 - 1.0, -1.0)])
