"""A release that is carried to another environment is the same one there, or is refused."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from flightdeck import deployments, registry
from ml import tracking, transfer
from ml.experiment import newest, trials
from ml.transfer import TransferRefused
from tests.ml.conftest import Months

KEYS = ["2097-01", "2097-02"]


@pytest.fixture(scope="module")
def months(published_months: Months) -> Iterator[None]:
    with published_months(KEYS, 4400):
        yield


@pytest.fixture(scope="module")
def exported(months: None) -> str:
    """What is served is an experiment's model: this seam reads ops.deployments, and does not ask how it came there."""
    # beside it stands the champion, where other tests have left one
    tried = next(row for row in trials(["train.rounds=10"], newest(None), lambda _: None) if row["settings"] == "rounds=10")
    run = tracking.connect().get_run(tried["run_id"])
    draft = json.loads(registry.artifact(f"{run.info.experiment_id}/{run.info.run_id}/artifacts/{tracking.DRAFT}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployments, "champion", lambda: {"release": draft | {"model_version": 77}, "model_version": 77})
        return transfer.export()


def test_it_becomes_a_run_with_the_same_model_and_can_be_promoted(exported: str) -> None:
    run_id = transfer.take_in(exported, "release.json")
    run = tracking.connect().get_run(run_id)
    draft = json.loads(registry.artifact(f"{run.info.experiment_id}/{run_id}/artifacts/{tracking.DRAFT}"))
    before = json.loads(exported)
    assert {name for name in draft if draft[name] != before["release"].get(name)} == {"run_id", "model_id", "artifact"}
    assert "model_version" not in draft
    assert registry.artifact(draft["artifact"]).decode() == before["model"]
    assert run.data.tags["partition_key"] == KEYS[1]
    assert run.data.tags["taken_in"] == "release.json"
    # what a promotion begins with
    assert tracking.register(draft, KEYS[1])["model_version"] > 0


def changed(document: str, **release: Any) -> str:
    content = json.loads(document)
    return json.dumps({"model": release.pop("model", content["model"]), "release": content["release"] | release})


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda document: changed(document, model=json.loads(document)["model"].replace("leaf_value=", "leaf_value=9", 1)), "sha256 is another"),
        (lambda document: changed(document, golden=json.loads(document)["release"]["golden"] | {"expected": [0.5] * 5}), "golden answers"),
        (lambda document: changed(document, learner="pickle"), "is not one of"),
        (lambda document: changed(document, model="no model", sha256=hashlib.sha256(b"no model").hexdigest()), "InvalidModel"),
        (lambda document: json.dumps({"model": "x"}), "KeyError"),
        (lambda document: document[:100], "is no release"),
        (lambda document: "[]", "TypeError"),
    ],
    ids=["model", "golden", "learner", "text", "part", "cut", "other"],
)
def test_what_is_not_the_release_is_refused(exported: str, what: Any, said: str) -> None:
    before = len(tracking.connect().search_runs([tracking.connect().get_experiment_by_name(tracking.experiment_name(tracking.TRIALS)).experiment_id]))
    with pytest.raises(TransferRefused, match=said):
        transfer.take_in(what(exported), "release.json")
    after = len(tracking.connect().search_runs([tracking.connect().get_experiment_by_name(tracking.experiment_name(tracking.TRIALS)).experiment_id]))
    assert after == before


def test_where_nothing_serves_there_is_nothing_to_carry(months: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "champion", lambda: None)
    with pytest.raises(TransferRefused, match="nothing serves"):
        transfer.export()
