"""Experiments leave what serves alone; one of them is promoted through the same registration and the same gate."""

from collections.abc import Iterator
from typing import Any

import pytest

from flightdeck import deployments, ledger, registry
from flightdeck.parameters import parameters
from flightdeck.warehouse import connect
from ml import experiment, gate, tracking
from ml.experiment import ExperimentRefused, newest, promote, trials
from ml.features import FEATURES
from tests.ml.conftest import Months

# far ahead of all others: the newest that is published
KEYS = ["2098-01", "2098-02"]
ROWS = 4400
SWEEP = ["train.rounds=20,40", "train.num_leaves=7"]


@pytest.fixture(scope="module")
def months(published_months: Months) -> Iterator[None]:
    with published_months(KEYS, ROWS):
        yield


@pytest.fixture(scope="module")
def tried(months: None) -> tuple[list[dict[str, Any]], list[str]]:
    told: list[str] = []
    return trials(SWEEP, newest(None), told.append), told


def _versions() -> int:
    return len(tracking.connect().search_model_versions(f"name='{parameters()['model']['name']}'"))


def test_a_sweep_tries_each_combination_and_the_best_comes_first(tried: tuple[list[dict[str, Any]], list[str]]) -> None:
    rows, told = tried
    mine = [row for row in rows if not row["settings"].startswith("the champion")]
    assert told == ["1 of 2: rounds=20, num_leaves=7", "2 of 2: rounds=40, num_leaves=7"]
    assert {row["settings"] for row in mine} == {"rounds=20, num_leaves=7", "rounds=40, num_leaves=7"}
    assert [row["log_loss"] for row in rows] == sorted(row["log_loss"] for row in rows)
    assert mine[0]["settings"] == "rounds=40, num_leaves=7"
    run = tracking.connect().get_run(mine[0]["run_id"])
    assert run.data.params["rounds"] == "40"
    assert run.data.params["num_leaves"] == "7"
    assert run.data.tags["partition_key"] == KEYS[1]


def test_an_experiment_changes_no_version_alias_or_ledger(months: None) -> None:
    with connect() as connection:
        before = (_versions(), registry.alias("challenger"), registry.alias("champion"), connection.execute("select count(*) as n from ops.ledger").fetchone())
        trials(["train.rounds=5"], KEYS[1], lambda _: None)
        after = (_versions(), registry.alias("challenger"), registry.alias("champion"), connection.execute("select count(*) as n from ops.ledger").fetchone())
    assert after == before


def test_another_learner_goes_the_same_way(months: None) -> None:
    rows = [row for row in trials(["train.learner=logistic"], KEYS[1], lambda _: None) if row["settings"] == "learner=logistic"]
    assert rows[0]["failures"] == []
    assert rows[0]["auc"] > 0.9


def test_a_champion_of_other_features_is_left_out_and_the_reason_told(months: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "champion", lambda: {"release": {"model_version": "7", "features": FEATURES[::-1]}})
    told: list[str] = []
    rows = trials(["train.rounds=5"], KEYS[1], told.append)
    assert [row["settings"] for row in rows] == ["rounds=5"]
    assert told[-1] == "not compared: the champion, version 7, was trained on other features, and cannot answer with this code"


def test_a_promoted_experiment_is_a_challenger_that_the_gate_judges(tried: tuple[list[dict[str, Any]], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    best = next(row for row in tried[0] if row["settings"].startswith("rounds=40"))
    sent: list[tuple[str, str]] = []

    class Airflow:
        def trigger(self, dag: str, key: str) -> None:
            sent.append((dag, key))

    monkeypatch.setattr(experiment, "Airflow", Airflow)
    row = promote(best["run_id"])
    assert sent == [("train", KEYS[1])]
    assert row["inputs"]["experiment"] == best["run_id"]
    assert sorted(row["inputs"]["transform"]) == row["outputs"]["release"]["partitions"]
    release = row["outputs"]["release"]
    assert release["run_id"] == best["run_id"]
    assert registry.alias("challenger") == release["model_version"]
    gate.gate(KEYS[1])
    verdict = ledger.last("gate", KEYS[1])
    assert verdict is not None
    assert verdict["inputs"]["challenger"] == release["model_version"]
    assert verdict["facts"]["challenger"]["log_loss"] == pytest.approx(best["log_loss"])
    # a second one is judged again, though this one was
    promote(best["run_id"])
    gate.gate(KEYS[1])
    again = ledger.last("gate", KEYS[1])
    assert again is not None
    assert again["attempt"] == verdict["attempt"] + 1


def test_what_cannot_be_promoted_is_refused_with_its_reason(months: None) -> None:
    with pytest.raises(ExperimentRefused, match="MLflow has no run banana"):
        promote("banana")
    old = next(row for row in trials(["train.rounds=5"], KEYS[0], lambda _: None) if row["settings"] == "rounds=5")
    with pytest.raises(ExperimentRefused, match=f"it was trained up to {KEYS[0]}, and {KEYS[1]} is published"):
        promote(old["run_id"])
    with pytest.raises(ExperimentRefused, match="2097-01 is published"):
        newest("2097-01")
