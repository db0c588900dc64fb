"""Training for real: warehouse, DVC and MLflow. The same month gives the same release, by command too, and registers once."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.types.json import Jsonb

from flightdeck import ledger, registry, stack
from flightdeck.launch import BIN
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import connect, query
from ml import gate, pipeline
from ml.features import FEATURES
from tests.ml.rows import insert, remove, table

KEYS = ["1999-01", "1999-02"]
UNASKED = "1999-03"
# enough that the last seven of the newest month's days are evidence enough for the gate
ROWS = 4400


@pytest.fixture(scope="module")
def mlflow(database: str) -> None:
    stack._migrate(lambda _: None)
    stack.start(["mlflow"])
    stack.wait(["mlflow"], 120)


@pytest.fixture(scope="module")
def published(mlflow: None) -> Iterator[None]:
    """Two months of rows that the ledger calls published, and decisions on the second and a third."""
    attempts = [ledger.begin("transform", key) for key in KEYS]
    with connect() as connection:
        for attempt in attempts:
            insert(connection, table(attempt.key, ROWS))
            attempt.record("published")
        for key, retrain, reasons in ((KEYS[1], True, ["first"]), (UNASKED, False, ["nothing asks for it"])):
            ledger.Attempt("decide", key, 1, facts={"retrain": retrain, "reasons": reasons}).record("done")
        yield
        for attempt in attempts:
            attempt.record("withdrawn")
        remove(connection, KEYS)


@pytest.fixture(scope="module")
def trained(published: None) -> dict[str, Any]:
    """The ledger's row of a training."""
    pipeline.train(KEYS[1])
    found = ledger.last("train", KEYS[1])
    assert found is not None
    return found


def test_the_release_is_complete_and_its_file_is_in_the_registry(trained: dict[str, Any]) -> None:
    release = trained["outputs"]["release"]
    assert hashlib.sha256(registry.model(release)).hexdigest() == release["sha256"]
    assert registry.alias("challenger") == release["model_version"]
    assert release["features"] == FEATURES
    assert release["partitions"] == KEYS
    assert len(release["golden"]["rows"]) == len(release["golden"]["expected"]) == 5
    assert {len(row) for row in release["golden"]["rows"]} == {len(FEATURES)}


def test_facts_and_inputs_are_recorded_and_the_workspace_is_gone(trained: dict[str, Any]) -> None:
    assert trained["facts"]["metrics"]["rows"] == ROWS * 7 // 28
    assert trained["facts"]["metrics"]["auc"] > 0.7
    assert set(trained["inputs"]["transform"]) == set(KEYS)
    assert not list((settings().home / "work").glob(f"train-{KEYS[1]}-*"))


def test_what_was_trained_stays_a_fact(trained: dict[str, Any]) -> None:
    pipeline.train(KEYS[1])
    assert ledger.last("train", KEYS[1]) == trained


def test_the_same_file_of_the_same_partition_registers_once(trained: dict[str, Any]) -> None:
    name = parameters()["model"]["name"]
    versions = registry._call("GET", f"{registry.API}/model-versions/search", params={"filter": f"name='{name}'"}).json()["model_versions"]
    assert versions
    # as after a kill between registering and the ledger's row
    attempt = ledger.begin("train", KEYS[1])
    pipeline.train.__wrapped__(attempt)
    again, first = attempt.outputs["release"], trained["outputs"]["release"]
    assert {name: again[name] for name in ("model_version", "sha256", "snapshot_md5", "golden")} == {
        name: first[name] for name in ("model_version", "sha256", "snapshot_md5", "golden")
    }
    after = registry._call("GET", f"{registry.API}/model-versions/search", params={"filter": f"name='{name}'"}).json()["model_versions"]
    assert len(after) == len(versions)


def test_dvc_repro_by_command_gives_the_same_lock_and_model(trained: dict[str, Any], tmp_path: Path) -> None:
    made = pipeline._workspace(ledger.Attempt("train", KEYS[1], 99))
    fresh = shutil.move(made, tmp_path / "fresh")
    # a cache of its own: nothing may come from what the pipeline has committed
    (fresh / ".dvc" / "config").write_text(pipeline.CONFIG.format(home=tmp_path))
    done = subprocess.run([BIN / "dvc", "repro", "--no-run-cache"], cwd=fresh, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashlib.sha256((fresh / "model" / "model.lgb").read_bytes()).hexdigest() == trained["outputs"]["release"]["sha256"]
    assert hashlib.sha256((fresh / "dvc.lock").read_bytes()).hexdigest() == trained["facts"]["dvc_lock_sha256"]


def test_the_snapshot_of_a_release_can_be_pulled_from_the_store(trained: dict[str, Any], tmp_path: Path) -> None:
    release = trained["outputs"]["release"]
    folder = tmp_path / "pulled"
    (folder / ".dvc").mkdir(parents=True)
    configuration = pipeline.CONFIG.format(home=settings().home).replace(f"dir = {settings().home}/dvc/cache", f"dir = {tmp_path}/cache")
    (folder / ".dvc" / "config").write_text(configuration)
    for file in ("dvc.yaml", "dvc.lock", "params.yaml"):
        (folder / file).write_bytes(registry.artifact(f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/{file}"))
    locked = yaml.safe_load((folder / "dvc.lock").read_text())
    assert locked["stages"]["snapshot"]["outs"][0]["md5"] == release["snapshot_md5"]
    done = subprocess.run([BIN / "dvc", "pull", "snapshot"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (folder / "data").iterdir()) == [f"{key}.parquet" for key in KEYS]


def test_where_nobody_asked_nothing_is_trained_and_the_gate_says_why(published: None) -> None:
    pipeline.train(UNASKED)
    gate.gate(UNASKED)
    skipped, verdict = ledger.last("train", UNASKED), ledger.last("gate", UNASKED)
    assert skipped is not None
    assert verdict is not None
    assert skipped["facts"] == {"skipped": True, "reasons": ["nothing asks for it"]}
    assert skipped["outputs"] == {}
    assert (verdict["facts"]["decision"], verdict["facts"]["reasons"]) == ("none", ["nothing asks for it"])


def test_a_champion_is_not_replaced_by_its_equal(trained: dict[str, Any]) -> None:
    release = trained["outputs"]["release"]
    with connect() as connection:
        connection.execute(
            "insert into ops.deployments (partition_key, model_version, state, release, code) values (%s, %s, 'champion', %s, 'test')",
            (KEYS[1], release["model_version"], Jsonb(release)),
        )
    gate.gate(KEYS[1])
    verdict = ledger.last("gate", KEYS[1])
    assert verdict is not None
    assert verdict["inputs"] == {"challenger": release["model_version"], "champion": release["model_version"]}
    assert verdict["facts"]["champion"] == verdict["facts"]["challenger"] == trained["facts"]["metrics"]
    assert verdict["facts"]["decision"] == "refused"


def test_a_failed_training_is_recorded_with_its_reason(published: None, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "1999-04"
    ledger.Attempt("decide", key, 1, facts={"retrain": True, "reasons": ["first"]}).record("done")
    monkeypatch.setattr(pipeline, "log", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pipeline.train(key)
    assert ledger.last("train", key) is None
    rows = query("select state, facts from ops.ledger where stage = 'train' and partition_key = %s order by id", key)
    assert [row["state"] for row in rows] == ["started", "failed"]
    assert rows[1]["facts"]["error"].startswith("ZeroDivisionError")
    assert not list((settings().home / "work").glob(f"train-{key}-*"))
