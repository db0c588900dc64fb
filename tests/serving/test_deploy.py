"""The stage `deploy`: the truth is written once, the registry's alias follows it, and the service has followed at the end."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flightdeck import deployments, ledger, registry
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, query
from serving import deploy, rollout, workers
from serving.follower import Follower
from tests.serving.conftest import Registry

Make = Callable[..., dict[str, Any]]


def rows(version: int) -> list[dict[str, Any]]:
    return query("select partition_key, release, reasons from ops.deployments where model_version = %s and state = 'champion' order by id", version)


@pytest.fixture
def published(connection: Connection) -> Iterator[Callable[[str], None]]:
    attempts = []

    def publish(key: str) -> None:
        attempts.append(ledger.begin("transform", key))
        attempts[-1].record("published")

    yield publish
    for attempt in attempts:
        attempt.record("withdrawn")


def judged(key: str, decision: str, release: dict[str, Any] | None) -> None:
    """As `train` and `gate` leave the ledger."""
    ledger.Attempt("train", key, 1, outputs={"release": release} if release else {}).record("done")
    ledger.Attempt("gate", key, 1, facts={"decision": decision, "reasons": ["because"]}).record("done")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a trial: that is tests/serving/test_rollout.py's."""
    monkeypatch.setitem(parameters()["rollout"], "stages", [])


def test_a_deployment_is_written_once(connection: Connection, release: Make, following: None) -> None:
    made, attempt = release(), ledger.Attempt("deploy", "1996-06", 1)
    assert rollout.roll_out(attempt, made, ["first"]) == rollout.roll_out(attempt, made, ["first"]) == []
    found = rows(made["model_version"])
    assert [(row["partition_key"], row["release"], row["reasons"]) for row in found] == [("1996-06", made, ["first"])]


def test_the_alias_is_moved_to_what_is_written(connection: Connection, release: Make, models: Registry, deployed: Callable[..., int]) -> None:
    version = deployed(release())
    models.aliases["champion"] = 1
    assert deploy.reconcile() == version
    assert models.aliases == {"champion": version}
    assert deploy.reconcile() == version
    # somebody moved it by hand
    registry.set_alias("champion", 5)
    assert deploy.reconcile() == version
    assert models.aliases == {"champion": version}


def test_without_the_registry_the_truth_stays_and_the_alias_follows_later(
    connection: Connection, release: Make, models: Registry, deployed: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = deployed(release())
    with socket.socket() as closed, monkeypatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        nowhere = settings().model_copy(update={"port_mlflow": closed.getsockname()[1]})
        patch.setattr(registry, "settings", lambda: nowhere)
        with pytest.raises(registry.RegistryError, match="registered-models/get"):
            deploy.reconcile()
    assert len(rows(version)) == 1
    assert deploy.reconcile() == models.aliases["champion"] == version


def test_what_was_promoted_is_served_at_the_end(release: Make, models: Registry, following: None, follower: Follower, published: Callable[[str], None]) -> None:
    key, made = "1996-07", release()
    published(key)
    judged(key, "promoted", made)
    deploy.deploy(key)
    version = made["model_version"]
    assert [(row["partition_key"], row["reasons"]) for row in rows(version)] == [(key, ["because"])]
    assert models.aliases["champion"] == version
    assert follower.now.release is not None
    assert follower.now.release.version == version
    done = ledger.last("deploy", key)
    assert done is not None
    assert done["facts"] == {"decision": "promoted", "model_version": version}


def test_what_was_refused_is_not_served(
    release: Make, models: Registry, deployed: Callable[..., int], following: None, published: Callable[[str], None]
) -> None:
    key, refused, champion = "1996-08", release(), deployed(release())
    published(key)
    judged(key, "refused", refused)
    deploy.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert done["facts"] == {"decision": "refused", "model_version": champion}
    assert rows(refused["model_version"]) == []
    assert models.aliases["champion"] == champion


def test_a_release_that_breaks_a_promise_is_rolled_back_and_told_of(release: Make, deployed: Callable[..., int], following: None, models: Registry) -> None:
    key, champion, made = "1996-09", deployed(release()), release(golden={"rows": [[0.0] * 18], "expected": [0.1]})
    judged(key, "promoted", made)
    deploy.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert (done["facts"]["decision"], done["facts"]["model_version"]) == ("rolled back", champion)
    found = query("select state, reasons from ops.deployments where model_version = %s order by id", made["model_version"])
    assert [row["state"] for row in found] == ["registered", "retired"]
    (told,) = query("select summary, details from ops.alerts where source = 'rollout' and partition_key = %s", key)
    assert told["details"] == found[1]["reasons"] == done["facts"]["reasons"]
    assert "cannot be used" in told["summary"]


def test_without_a_verdict_nothing_is_deployed(connection: Connection) -> None:
    with pytest.raises(deploy.NotServed, match="1996-10 has no verdict"):
        deploy.deploy("1996-10")


def test_a_service_that_does_not_follow_is_told_of(following: None, connection: Connection) -> None:
    with pytest.raises(deploy.NotServed, match=r"has not taken up deployment 1000000 .+1 of 1 workers are behind; its health says: .+model_version"):
        workers.await_workers(connection, 1_000_000, "1996-11", seconds=0.5)


def test_a_service_that_is_not_there_is_told_of(connection: Connection) -> None:
    while deployments.workers(connection):  # another test's
        time.sleep(0.05)
    with pytest.raises(deploy.NotServed, match="no worker is connected"):
        workers.await_workers(connection, 1, seconds=0.1)


@pytest.mark.parametrize(("approved", "decision"), [(True, "promoted"), (False, "refused")])
def test_where_a_person_is_asked_the_answer_decides(
    connection: Connection, release: Make, deployed: Callable[..., int], following: None, published: Callable[[str], None], approved: bool, decision: str
) -> None:
    key, before, made = "1994-01" if approved else "1994-02", deployed(release()), release()
    published(key)
    ledger.Attempt("train", key, 1, outputs={"release": made}).record("done")
    ledger.Attempt("gate", key, 1, facts={"decision": "promoted", "reasons": ["better"], "approval": True}).record("done")
    with pytest.raises(deploy.NotServed, match=f"the promotion of {key} waits for approval"):
        deploy.deploy(key)
    # an answer to another verdict than the newest is none
    ledger.Attempt("approve", key, 1, facts={"gate": 0, "approved": True, "by": "ann"}).record("done")
    with pytest.raises(deploy.NotServed, match="waits for approval"):
        deploy.deploy(key)
    ledger.Attempt("approve", key, 2, facts={"gate": 1, "approved": approved, "by": "ann"}).record("done")
    deploy.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert (done["facts"]["decision"], done["facts"]["by"]) == (decision, "ann")
    assert done["facts"]["model_version"] == (made["model_version"] if approved else before)
    assert len(rows(made["model_version"])) == approved


def test_a_new_verdict_is_deployed_though_an_older_one_was(connection: Connection, release: Make, following: None, published: Callable[[str], None]) -> None:
    """As when an experiment is promoted after the month's own training."""
    key, first, second = "1994-03", release(), release()
    published(key)
    judged(key, "promoted", first)
    deploy.deploy(key)
    deploy.deploy(key)
    ledger.Attempt("train", key, 2, outputs={"release": second}).record("done")
    ledger.Attempt("gate", key, 2, facts={"decision": "promoted", "reasons": ["because"]}).record("done")
    deploy.deploy(key)
    done = ledger.last("deploy", key)
    assert done is not None
    assert (done["attempt"], done["facts"]["model_version"]) == (2, second["model_version"])
    assert len(rows(second["model_version"])) == 1


def test_what_is_deployed_serves_within_two_seconds(connection: Connection, release: Make, follower: Follower, following: None) -> None:
    """At the pace at which the real service looks."""
    follower.every = Follower().every
    made = release()
    begun = time.monotonic()
    row = deployments.promote(connection, "1994-04", made, ["first"])
    workers.await_workers(connection, row)
    assert follower.now.release
    assert follower.now.release.version == made["model_version"]
    assert time.monotonic() - begun < 2
