"""Killed in training, in logging, between version and alias, in deployment: a retry registers once, and nothing serves whose file is not there."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest

from flightdeck import deployments, ledger, registry
from flightdeck.parameters import parameters
from flightdeck.warehouse import query
from ml import gate, pipeline, tracking
from serving import deploy as deploying
from tests.ml.conftest import Months
from tests.sandbox import die, killed

KEYS = ["1997-01", "1997-02", "1997-03", "1997-04", "1997-05", "1997-06"]
ROWS = 5200


@pytest.fixture(scope="module")
def months(published_months: Months) -> Iterator[None]:
    """Months that are published, each with the decision to train."""
    with published_months(KEYS, ROWS):
        for key in KEYS:
            ledger.Attempt("decide", key, 1, facts={"retrain": True, "reasons": ["age"]}).record("done")
        yield


def _then_die(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        die()

    return call


def _in_training(key: str) -> None:
    # the model file is there, the workspace is not cleaned up
    pipeline.fit = _then_die(pipeline.fit)
    pipeline.train(key)


def _in_dvc(key: str) -> None:
    from dvc.repo import Repo

    Repo.push = die
    pipeline.train(key)


def _in_logging(key: str) -> None:
    # the run is there, and the model without its files
    mlflow.MlflowClient.log_model_artifacts = die
    pipeline.train(key)


def _before_the_version(key: str) -> None:
    mlflow.MlflowClient.create_model_version = die
    pipeline.train(key)


def _between_version_and_alias(key: str) -> None:
    registry.set_alias = die  # type: ignore[assignment]
    pipeline.train(key)


def _versions(key: str) -> list[Any]:
    return list(tracking.connect().search_model_versions(f"name='{parameters()['model']['name']}' and tags.partition_key='{key}'"))


def _runs(key: str) -> list[str]:
    client = tracking.connect()
    experiment = client.get_experiment_by_name(tracking.experiment_name(tracking.TRAINING))
    return sorted(run.info.status for run in client.search_runs([experiment.experiment_id], f"tags.partition_key = '{key}'"))


@pytest.mark.parametrize(
    ("key", "point", "runs"),
    [
        (KEYS[1], _in_training, ["FINISHED"]),
        (KEYS[2], _in_dvc, ["FINISHED"]),
        (KEYS[3], _in_logging, ["FINISHED", "KILLED"]),
        (KEYS[4], _before_the_version, ["FINISHED", "FINISHED"]),
        (KEYS[5], _between_version_and_alias, ["FINISHED", "FINISHED"]),
    ],
)
def test_a_training_that_is_killed_and_done_again_registers_once(months: None, key: str, point: Callable[[str], None], runs: list[str]) -> None:
    killed(lambda: point(key))
    assert ledger.last("train", key) is None
    left = len(_versions(key))
    pipeline.train(key)
    row = ledger.last("train", key)
    assert row is not None
    release = row["outputs"]["release"]
    [version] = _versions(key)
    assert left == (1 if point is _between_version_and_alias else 0)
    assert int(version.version) == release["model_version"] == registry.alias("challenger")
    assert (version.run_id, version.source) == (release["run_id"], f"models:/{release['model_id']}")
    assert hashlib.sha256(registry.model(release)).hexdigest() == version.tags["sha256"]
    assert _runs(key) == runs


def _after_the_truth(key: str) -> None:
    # ops.deployments says so already, the alias does not yet
    deploying.reconcile = die  # type: ignore[assignment]
    deploying.deploy(key)


def _after_the_alias(key: str) -> None:
    deploying.await_workers = die  # type: ignore[assignment]
    deploying.deploy(key)


def test_a_deployment_that_is_killed_and_done_again_is_one_and_truth_and_alias_agree(months: None, monkeypatch: pytest.MonkeyPatch) -> None:
    key = KEYS[0]
    pipeline.train(key)
    gate.gate(key)
    verdict, trained = ledger.last("gate", key), ledger.last("train", key)
    assert verdict is not None
    assert trained is not None
    assert verdict["facts"]["decision"] == "promoted"
    version = trained["outputs"]["release"]["model_version"]
    killed(lambda: _after_the_truth(key))
    champion = deployments.champion()
    assert champion is not None
    assert champion["model_version"] == version
    assert registry.alias("champion") != version
    killed(lambda: _after_the_alias(key))
    assert registry.alias("champion") == version
    assert ledger.last("deploy", key) is None
    # the service itself is not part of this
    monkeypatch.setattr(deploying, "await_workers", lambda *_: None)
    deploying.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert done["facts"]["model_version"] == version
    moves = query("select state from ops.deployments where partition_key = %s order by id", key)
    assert [move["state"] for move in moves] == ["registered", "champion"]


def test_a_version_whose_file_is_gone_is_not_deployed(months: None, monkeypatch: pytest.MonkeyPatch) -> None:
    key, before = KEYS[1], deployments.champion()
    monkeypatch.setattr(registry, "artifact", lambda path: b"")
    monkeypatch.setattr(deploying, "await_workers", lambda *_: None)
    ledger.Attempt("gate", key, 1, facts={"decision": "promoted", "reasons": ["made up"]}).record("done")
    deploying.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert done["facts"]["decision"] == "rolled back"
    assert "the stored file has sha256" in done["facts"]["reasons"][0]
    assert deployments.champion() == before
