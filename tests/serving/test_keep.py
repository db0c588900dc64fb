"""Never zero: models by their checksum, the last good release, reference data on local disk; what does not hold is as if it were not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from flightdeck import deployments, registry
from flightdeck.warehouse import Connection
from serving import follower as following
from serving.follower import Follower
from serving.keep import MODELS, Keep
from serving.reference import Plan, Reference
from tests.serving.conftest import Registry, until

Make = Callable[..., dict[str, Any]]


def fails(*_: object, **__: object) -> Any:
    raise psycopg.OperationalError("nobody answers")


def test_a_start_without_warehouse_and_registry_serves_what_served_last(
    follower: Follower, serving: int, models: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = follower.now
    models.artifacts.clear()
    monkeypatch.setattr(following, "connect", fails)
    fresh = Follower(every=0.02, keep=follower.keep)
    fresh.start()
    fresh.stop()
    now = fresh.now
    assert now.release
    assert before.release
    assert now.release.version == serving
    assert now.release.gives_golden_answers()
    assert now.release.model.predict(np.zeros((1, len(now.release.model.features)))) == before.release.model.predict(
        np.zeros((1, len(now.release.model.features)))
    )
    assert now.reference
    assert before.reference
    assert (now.reference.planes, now.reference.routes, now.reference.published) == (
        before.reference.planes, before.reference.routes, before.reference.published,
    )  # fmt: skip
    assert "the warehouse does not answer: nobody answers" in now.problem


def test_a_first_start_without_the_warehouse_answers_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "connect", fails)
    fresh = Follower(every=0.02, keep=Keep(tmp_path))
    fresh.start()
    fresh.stop()
    assert (fresh.now.release, fresh.now.ledger) == (None, -1)
    assert "nobody answers" in fresh.now.problem


def test_a_start_without_the_registry_serves_the_champion_from_disk(follower: Follower, serving: int, models: Registry, connection: Any) -> None:
    models.artifacts.clear()
    fresh = Follower(keep=follower.keep)
    now = fresh.step(connection)
    assert now.release
    assert (now.release.version, now.problem) == (serving, "")


def test_a_champion_that_cannot_be_had_leaves_the_last_good_one(
    follower: Follower, serving: int, models: Registry, release: Make, deployed: Callable[[dict[str, Any]], int], connection: Any
) -> None:
    made = release()
    models.artifacts.pop(made["artifact"])
    deployed(made)
    fresh = Follower(keep=follower.keep)
    now = fresh.step(connection)
    assert now.release
    assert now.release.version == serving
    assert "no artifact" in now.problem
    assert now.deployment == 0


@pytest.mark.parametrize("broken", [b"", b"x" * 100, None])
def test_a_kept_model_that_was_changed_is_fetched_anew(tmp_path: Path, release: Make, broken: bytes | None) -> None:
    keep, made = Keep(tmp_path), release()
    content = keep.model(made)
    path = tmp_path / "models" / made["sha256"]
    assert path.read_bytes() == content
    path.write_bytes(content[:-1] if broken is None else broken)
    assert keep.model(made) == content
    assert path.read_bytes() == content


def test_only_the_newest_models_are_kept(tmp_path: Path, release: Make, models: Registry) -> None:
    keep, made = Keep(tmp_path), [release() for _ in range(MODELS + 4)]
    for each in made:
        keep.model(each)
    assert len(list((tmp_path / "models").iterdir())) <= MODELS + 1
    models.artifacts.clear()
    assert keep.model(made[-1])
    with pytest.raises(registry.RegistryError):
        keep.model(made[0])


def test_what_another_replica_removes_meanwhile_was_not_there(tmp_path: Path, release: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas share the folder: what one lists, the other has already renamed or removed."""
    keep = Keep(tmp_path)
    for _ in range(MODELS + 3):
        keep.model(release())
    listed = [*(tmp_path / "models").iterdir(), tmp_path / "models" / "removed", tmp_path / "models" / ".fresh"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda _: iter(listed))
        assert keep.model(release())
    assert len(list((tmp_path / "models").iterdir())) <= MODELS + 2


def test_a_worker_goes_on_following_whatever_goes_wrong(
    follower: Follower, serving: int, release: Make, deployed: Callable[[dict[str, Any]], int], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(_: object) -> Any:
        raise FileNotFoundError("models/removed")

    with monkeypatch.context() as patch:
        patch.setattr(follower, "step", wrong)
        follower.start()
        assert "FileNotFoundError: models/removed" in follower.now.problem
        # the version before goes on, and it can be seen that this worker lags behind
        assert follower.now.release
        until(lambda: [worker for worker in deployments.workers(connection) if worker.version == serving])
    newest = deployed(release())
    until(lambda: follower.now.release and follower.now.release.version == newest and not follower.now.problem)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\x80\x04\x95"])
def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Keep(tmp_path)
    (tmp_path / "release.json").write_bytes(content)
    (tmp_path / "reference.msgpack").write_bytes(content)
    assert keep.reference() is None
    monkeypatch.setattr(following, "connect", fails)
    fresh = Follower(keep=keep)
    fresh.start()
    fresh.stop()
    assert fresh.now.release is None


def test_a_disk_that_takes_nothing_costs_no_answer(tmp_path: Path, release: Make) -> None:
    (tmp_path / "file").write_text("")
    keep, made = Keep(tmp_path / "file" / "kept"), release()
    assert keep.model(made) == registry.model(made)
    keep.remember(made)


def test_reference_data_are_the_same_when_they_are_read_back() -> None:
    plan = Plan(7, np.array([b"2013-01-01T10:00:00Z/AA/1", b"x"], dtype=np.bytes_), np.array([[1.0, 2, 3, 4, float("nan")], [5, 6, 7, 8, 9]]))
    before = Reference({"N1": (1999, None)}, {("2013-01", "EWR", "IAH"): (3, 400)}, ["2013-01"], [], {"2013-02": plan})
    after = Reference.unpacked(before.packed())
    assert (after.planes, after.routes, after.published) == (before.planes, before.routes, before.published)
    assert after.plans["2013-02"].built == 7
    assert after.plans["2013-02"].of("2013-01-01T10:00:00Z/AA/1") == plan.of("2013-01-01T10:00:00Z/AA/1") == [1.0, 2.0, 3.0, 4.0, None]
