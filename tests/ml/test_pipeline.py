"""Training for real: warehouse, DVC and MLflow. The same month gives the same release, by command too, and registers once."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.artifacts as mlflow_artifacts
import mlflow.lightgbm as mlflow_lightgbm
import numpy as np
import pytest
import yaml
from psycopg.types.json import Jsonb

from flightdeck import ledger, registry
from flightdeck.code import code_version
from flightdeck.launch import BIN
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import connect, query
from ml import gate, pipeline, snapshot, tracking
from ml.features import FEATURES
from tests.ml.conftest import Months
from tests.ml.rows import insert, remove, table

KEYS = ["1999-01", "1999-02"]
UNASKED = "1999-03"
# enough that the last seven of the newest month's days are evidence enough for the gate
ROWS = 4400
# another training of the same partitions, in a process of its own
ONE = f"""
import hashlib, os
from flightdeck.parameters import parameters
from ml import pipeline
with pipeline.workspace(os.environ["NAME"], pipeline.with_partitions(parameters(), {KEYS[1]!r})) as folder:
    print(pipeline.run(folder), hashlib.sha256((folder / "model" / "model.lgb").read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def published(published_months: Months) -> Iterator[None]:
    """Two months that are published, and decisions on the second and a third."""
    with published_months(KEYS, ROWS):
        for key, retrain, reasons in ((KEYS[1], True, ["first"]), (UNASKED, False, ["nothing asks for it"])):
            ledger.Attempt("decide", key, 1, facts={"retrain": retrain, "reasons": reasons}).record("done")
        yield


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
    assert again == first
    after = registry._call("GET", f"{registry.API}/model-versions/search", params={"filter": f"name='{name}'"}).json()["model_versions"]
    assert len(after) == len(versions)


def test_dvc_repro_by_command_gives_the_same_lock_and_model(trained: dict[str, Any], tmp_path: Path) -> None:
    with pipeline.workspace("by-command", pipeline.with_partitions(parameters(), KEYS[1])) as made:
        fresh = shutil.copytree(made, tmp_path / "fresh")
    # a cache of its own: nothing may come from what the pipeline has committed
    (fresh / ".dvc" / "config").write_text(pipeline.CONFIG.format(home=tmp_path, remote=tmp_path / "dvc/remote"))
    done = subprocess.run([BIN / "dvc", "repro", "--no-run-cache"], cwd=fresh, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashlib.sha256((fresh / "model" / "model.lgb").read_bytes()).hexdigest() == trained["outputs"]["release"]["sha256"]
    assert hashlib.sha256((fresh / "dvc.lock").read_bytes()).hexdigest() == trained["facts"]["dvc_lock_sha256"]


def test_the_snapshot_of_a_release_can_be_pulled_from_the_store(trained: dict[str, Any], tmp_path: Path) -> None:
    release = trained["outputs"]["release"]
    folder = tmp_path / "pulled"
    (folder / ".dvc").mkdir(parents=True)
    configuration = pipeline.CONFIG.format(home=settings().home, remote=settings().dvc_remote).replace(
        f"dir = {settings().home}/dvc/cache", f"dir = {tmp_path}/cache"
    )
    (folder / ".dvc" / "config").write_text(configuration)
    for file in ("dvc.yaml", "dvc.lock", "params.yaml"):
        (folder / file).write_bytes(registry.artifact(f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/{file}"))
    locked = yaml.safe_load((folder / "dvc.lock").read_text())
    assert next(each["md5"] for each in locked["stages"]["train"]["deps"] if each["path"] == "data") == release["snapshot_md5"]
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
    assert verdict["facts"]["approval"] is False


def test_the_run_shows_all_that_made_the_model(trained: dict[str, Any]) -> None:
    release, client = trained["outputs"]["release"], tracking.connect()
    run = client.get_run(release["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["num_leaves"] == str(parameters()["train"]["lightgbm"]["parameters"]["num_leaves"])
    assert run.data.params["learner"] == "lightgbm"
    assert run.data.metrics["log_loss"] == pytest.approx(release["metrics"]["log_loss"])
    assert run.data.metrics["origin/JFK/rows"] > 100
    assert run.data.tags["mlflow.source.git.commit"] == code_version().split("+")[0]
    assert run.data.tags["model_tests"] == "passed"
    [used] = run.inputs.dataset_inputs
    assert used.dataset.digest == release["snapshot_md5"]
    files = {entry.path for folder in ("", "plots") for entry in client.list_artifacts(release["run_id"], folder)}
    assert {"dvc.yaml", "dvc.lock", "params.yaml", "metrics.json", "tests.json", "release.json"} <= files
    assert {f"plots/{name}.svg" for name in ("calibration", "roc", "importance", "segments")} <= files
    model = client.get_logged_model(release["model_id"])
    assert str(model.status) == "READY"
    assert {metric.key for metric in model.metrics} >= {"log_loss", "auc", "calibration"}


def test_the_logged_model_is_one_that_mlflow_itself_can_load(trained: dict[str, Any], tmp_path: Path) -> None:
    release = trained["outputs"]["release"]
    tracking.connect()
    folder = mlflow_artifacts.download_artifacts(f"models:/{release['model_id']}", dst_path=str(tmp_path))
    described = yaml.safe_load((Path(folder) / "MLmodel").read_text())
    assert [column["name"] for column in json.loads(described["signature"]["inputs"])] == FEATURES
    assert described["saved_input_example_info"]["artifact_path"] == "input_example.json"
    assert not [path.name for path in Path(folder).rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]
    rows = np.array([[np.nan if value is None else value for value in row] for row in release["golden"]["rows"]])
    assert mlflow_lightgbm.load_model(folder).predict(rows, num_threads=1).tolist() == release["golden"]["expected"]


def test_a_partition_that_was_read_before_comes_from_the_cache(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: Path, key: str) -> None:
        raise AssertionError(f"{key} was read again")

    monkeypatch.setattr(pipeline, "snapshot", read)
    with pipeline.workspace("cached", pipeline.with_partitions(parameters(), KEYS[1])) as folder:
        assert pipeline.run(folder) == trained["outputs"]["release"]["snapshot_md5"]


def test_a_partition_that_was_published_anew_is_read_anew(trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    read, knobs = [], pipeline.with_partitions(parameters(), KEYS[1])
    knobs["snapshot"]["partitions"][KEYS[0]]["attempt"] += 1
    monkeypatch.setattr(pipeline, "snapshot", lambda folder, key: (read.append(key), snapshot.snapshot(folder, key)))
    with pipeline.workspace("anew", knobs) as folder:
        pipeline.run(folder)
    assert read == [KEYS[0]]


def test_labels_of_older_partitions_count_until_the_next_ones_closing(published: None) -> None:
    wanted = pipeline.with_partitions(parameters(), KEYS[1])["snapshot"]["partitions"]
    assert {key: each["as_of"] for key, each in wanted.items()} == {key: partition(KEYS[1]).closes.isoformat() for key in KEYS}


def test_two_at_once_do_not_meet(trained: dict[str, Any]) -> None:
    def train(name: str) -> tuple[str, str]:
        environment = os.environ | {"NAME": name}
        done = subprocess.run([sys.executable, "-c", ONE], env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        md5, sha256 = done.stdout.split()[-2:]
        return md5, sha256

    with ThreadPoolExecutor() as pool:
        found = set(pool.map(train, ["left", "right"]))
    assert found == {(trained["outputs"]["release"]["snapshot_md5"], trained["outputs"]["release"]["sha256"])}


def test_a_model_that_fails_its_tests_is_registered_with_the_failure_and_is_no_challenger(published: None, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "1999-05"
    attempt = ledger.begin("transform", key)
    with connect() as connection:
        insert(connection, table(key, ROWS))
        attempt.record("published")
        ledger.Attempt("decide", key, 1, facts={"retrain": True, "reasons": ["age"]}).record("done")
        before = registry.alias("challenger")
        strict = parameters() | {"tests": parameters()["tests"] | {"least_difference": 1.1}}
        monkeypatch.setattr(pipeline, "parameters", lambda: strict)
        pipeline.train(key)
        attempt.record("withdrawn")
        gate.gate(key)
        remove(connection, [key])
    made, verdict = ledger.last("train", key), ledger.last("gate", key)
    assert made is not None
    assert verdict is not None
    release = made["outputs"]["release"]
    assert len(release["failures"]) == 1
    assert release["failures"][0].startswith("smallest/storm")
    assert registry.alias("challenger") == before != release["model_version"]
    version = tracking.connect().get_model_version(parameters()["model"]["name"], str(release["model_version"]))
    assert version.tags["model_tests"] == release["failures"][0]
    assert verdict["facts"]["decision"] == "refused"
    assert verdict["facts"]["reasons"] == [f"model test: {release['failures'][0]}"]


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
