"""What serves: the newest release that keeps its promises, and until then the one before it."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np
import pytest

from ml.features import FEATURES
from serving.follower import Follower
from serving.schema import MOST_INSTANCES
from tests.serving.conftest import Registry

ASKED = {"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00"}
Make = Callable[..., dict[str, Any]]
Deploy = Callable[[dict[str, Any]], int]
Look = Callable[[], None]


def answers(client: httpx.Client) -> int | None:
    """The version that answers, or None for 503."""
    answer = client.post("/predict", json={"instances": [ASKED]}, headers={"x-purpose": "probe"})
    return answer.json()["model_version"] if answer.status_code == 200 else None


def other_model(features: list[str]) -> bytes:
    random = np.random.default_rng(3)
    rows = random.normal(size=(200, len(features)))
    data = lgb.Dataset(rows, label=rows[:, 0] > 0, feature_name=features)
    return lgb.train({"objective": "binary", "verbose": -1}, data, num_boost_round=3).model_to_string().encode()


def broken(name: str, release: Make, models: Registry) -> dict[str, Any]:
    """A release that breaks one promise."""
    made = release()
    file = made["artifact"]

    def holding(content: bytes) -> dict[str, Any]:
        """The registry holds this file, and the release says so."""
        models.artifacts[file] = content
        return made | {"sha256": hashlib.sha256(content).hexdigest()}

    if name == "file changed":
        models.artifacts[file] += b"\n"
        return made
    if name == "file missing":
        del models.artifacts[file]
        return made
    return {
        "features differ": lambda: made | {"features": FEATURES[::-1]},
        "golden answers differ": lambda: made | {"golden": made["golden"] | {"expected": [0.5, 0.5]}},
        "no golden rows": lambda: made | {"golden": {"rows": [], "expected": []}},
        "golden rows are short": lambda: made | {"golden": made["golden"] | {"rows": [[1.0], [2.0]]}},
        "no golden at all": lambda: {key: value for key, value in made.items() if key != "golden"},
        "another model": lambda: holding(other_model(FEATURES)),
        "trained on other features": lambda: holding(other_model(FEATURES[::-1])),
        "trained on fewer features": lambda: holding(other_model(FEATURES[1:])),
        "not a model": lambda: holding(b"hello"),
        "not text": lambda: holding(b"\x80\x04\x95"),
    }[name]()


BROKEN = {
    "file changed": "sha256",
    "file missing": "no artifact",
    "features differ": "expects other features",
    "golden answers differ": "golden answers",
    "no golden rows": "cannot be used",
    "golden rows are short": "cannot be used",
    "no golden at all": "golden",
    "another model": "golden answers",
    "trained on other features": "trained on other features",
    "trained on fewer features": "trained on other features",
    "not a model": "cannot be used",
    "not text": "cannot be used",
}


@pytest.mark.parametrize(("name", "said"), BROKEN.items())
def test_a_release_that_breaks_a_promise_is_refused_and_the_older_goes_on(
    name: str, said: str, models: Registry, release: Make, deployed: Deploy, look: Look, client: httpx.Client, serving: int
) -> None:
    assert answers(client) == serving
    deployed(broken(name, release, models))
    look()
    health = client.get("/health").json()
    assert health["model_version"] == serving
    assert said in health["problem"]
    assert answers(client) == serving
    newer = deployed(release())
    look()
    assert client.get("/health").json()["problem"] == ""
    assert answers(client) == newer


def test_a_first_release_that_is_refused_answers_nothing(
    models: Registry, release: Make, deployed: Deploy, look: Look, client: httpx.Client, follower: Follower
) -> None:
    deployed(broken("file changed", release, models))
    look()
    assert answers(client) is None
    assert "sha256" in client.post("/predict", json={"instances": [ASKED]}).json()["message"]


def test_a_release_whose_file_comes_later_is_taken_then(
    models: Registry, release: Make, deployed: Deploy, look: Look, client: httpx.Client, serving: int
) -> None:
    made = release()
    content = models.artifacts.pop(made["artifact"])
    version = deployed(made)
    look()
    assert answers(client) == serving
    models.artifacts[made["artifact"]] = content
    look()
    assert answers(client) == version


def test_the_newest_row_decides_not_the_highest_version(release: Make, deployed: Deploy, look: Look, client: httpx.Client) -> None:
    older, newer = release(), release()
    deployed(newer)
    rolled_back = deployed(older)
    look()
    assert answers(client) == rolled_back < newer["model_version"]


def test_as_many_instances_as_allowed_are_answered(serving: int, client: httpx.Client) -> None:
    answer = client.post("/predict", json={"instances": [ASKED] * MOST_INSTANCES}, headers={"x-purpose": "probe"})
    assert answer.status_code == 200
    assert len({one["prediction_id"] for one in answer.json()["predictions"]}) == MOST_INSTANCES


def test_ready_while_the_golden_answers_are_given(
    release: Make, deployed: Deploy, look: Look, client: httpx.Client, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/ready").status_code == 503
    deployed(release())
    look()
    now = follower.now.release
    assert now
    assert client.get("/ready").json() == {"ready": True, "model_version": now.version}
    monkeypatch.setitem(now.golden, "expected", [0.0, 0.0])
    wrong = client.get("/ready")
    assert (wrong.status_code, wrong.json()["error"]) == (503, "wrong")
