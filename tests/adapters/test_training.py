"""Training by other tools, for real, in their own environments: the same file as ours of the same months, the same lineage, the same gate."""

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from flightdeck import ledger, registry
from flightdeck.parameters import parameters
from flightdeck.settings import ROOT, settings
from ml import gate, pipeline
from ml.adapters import stage
from ml.reproduce import reproduce
from tests.ml.conftest import Months

# each tool's own months, so that it makes a version of its own; enough rows for the gate
TOOLS = {"metaflow": ["1997-01", "1997-02"], "kubeflow": ["1998-01", "1998-02"]}
ROWS = 4400


class Training(NamedTuple):
    tool: str
    key: str
    row: dict[str, Any]
    # what ml/pipeline.py makes of the same months: the sha256 of its model file and of its dvc.lock, the md5 of its snapshot
    ours: tuple[str, str, str]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _ours(key: str) -> tuple[str, str, str]:
    with pipeline.workspace(f"ours-{key}", pipeline.with_partitions(parameters(), key)) as folder:
        md5 = pipeline.run(folder)
        return _sha256((folder / "model/model.lgb").read_bytes()), _sha256((folder / "dvc.lock").read_bytes()), md5


@pytest.fixture(scope="module", params=TOOLS)
def training(request: pytest.FixtureRequest, published_months: Months, environment: Callable[[str], Path]) -> Iterator[Training]:
    """A tool's training, as an Airflow task has it done."""
    tool, keys = request.param, TOOLS[request.param]
    python = environment(f"ml/adapters/requirements-{tool}.lock")
    with published_months(keys, ROWS), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "settings", lambda: settings().model_copy(update={"adapter_python": str(python)}))
        ledger.Attempt("decide", keys[1], 1, facts={"retrain": True, "reasons": ["first"]}).record("done")
        ledger.Attempt("decide", keys[0], 1, facts={"retrain": False, "reasons": ["nothing asks for it"]}).record("done")
        stage.train(f"on_{tool}", keys[1])
        row = ledger.last("train", keys[1])
        assert row is not None
        yield Training(tool, keys[1], row, _ours(keys[1]))


def test_the_model_is_byte_for_byte_ours(training: Training) -> None:
    release = training.row["outputs"]["release"]
    assert release["sha256"] == training.ours[0]
    assert _sha256(registry.model(release)) == release["sha256"]


def test_its_lineage_is_ours(training: Training) -> None:
    release = training.row["outputs"]["release"]
    run, version = registry.run(release["run_id"]), registry.version(release["model_version"])
    assert version is not None
    assert release["snapshot_md5"] == run["tags"]["snapshot_md5"] == version["tags"]["snapshot_md5"] == training.ours[2]
    assert training.row["facts"]["dvc_lock_sha256"] == training.ours[1]
    assert set(training.row["inputs"]["transform"]) == set(release["partitions"]) == set(TOOLS[training.tool])
    assert training.tool in run["tags"]["trained_by"].lower()
    assert run["tags"]["attempt"] == str(training.row["attempt"])
    assert version["tags"] | {"sha256": release["sha256"], "partition_key": training.key, "model_tests": "passed"} == version["tags"]


def test_the_store_has_its_data(training: Training) -> None:
    kept = training.row["outputs"]["release"]["snapshot"]
    assert set(kept) == set(TOOLS[training.tool])
    assert [md5 for md5 in kept.values() if not (Path(settings().dvc_remote) / "files/md5" / md5[:2] / md5[2:]).exists()] == []


def test_the_bill_of_material_is_of_the_tools_environment(training: Training) -> None:
    release = training.row["outputs"]["release"]
    place = f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/evidence"
    names = {part["name"] for part in json.loads(registry.artifact(f"{place}/sbom.cdx.json"))["components"]}
    assert {"lightgbm", {"metaflow": "metaflow", "kubeflow": "kfp"}[training.tool]} <= names
    assert "apache-airflow" not in names


def test_our_own_way_reproduces_it(training: Training) -> None:
    found = reproduce(training.row["outputs"]["release"]["model_version"], lambda _: None)
    assert (found["same"], found["differences"], found["environment"]) == (True, [], [])
    assert found["sha256"] == training.ours[0]


def test_the_gate_judges_it_like_any_challenger(training: Training) -> None:
    gate.gate(training.key)
    verdict = ledger.last("gate", training.key)
    assert verdict is not None
    version = training.row["outputs"]["release"]["model_version"]
    assert registry.alias("challenger") == version == verdict["inputs"]["challenger"]
    assert verdict["facts"]["challenger"] == training.row["facts"]["metrics"]
    assert (verdict["facts"]["decision"], verdict["facts"]["reasons"]) == ("promoted", ["first"])


def test_where_nobody_asked_nothing_is_trained(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "run", lambda *_: 1 / 0)
    stage.train(f"on_{training.tool}", TOOLS[training.tool][0])
    skipped = ledger.last("train", TOOLS[training.tool][0])
    assert skipped is not None
    assert skipped["facts"] == {"skipped": True, "reasons": ["nothing asks for it"]}


def test_what_the_tool_tells_when_it_fails_is_the_error(training: Training) -> None:
    with pytest.raises(stage.NotTrained, match=r"(?s)exit code 1.*InvalidPartition"):
        stage.run(f"on_{training.tool}", "no-month", "9")
    with pytest.raises(stage.NotTrained, match="no finished run"):
        stage.trained(training.key, "9")


@pytest.mark.parametrize("training", ["metaflow"], indirect=True, scope="module")
def test_the_card_shows_the_version_and_its_metrics(training: Training) -> None:
    [card] = (settings().home / "on_metaflow").rglob("*.html")
    # what a card shows is in its page as JSON, in base64
    [packed] = re.findall(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"', card.read_text())
    text = base64.b64decode(packed).decode()
    release = training.row["outputs"]["release"]
    assert f"Version {release['model_version']}" in text
    assert str(release["metrics"]["log_loss"]) in text


def test_the_pipeline_compiles_for_a_cluster(environment: Callable[[str], Path], tmp_path: Path) -> None:
    python, file = environment("ml/adapters/requirements-kubeflow.lock"), tmp_path / "train.yaml"
    command = [python, ROOT / "ml/adapters/on_kubeflow.py", "compile", file]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "IMAGE": "registry.example/flightdeck:1"})
    compiled = yaml.safe_load(file.read_text())
    tasks = compiled["root"]["dag"]["tasks"]
    assert set(tasks) == {"snapshot", "train", "evaluate", "test", "register"}
    assert set(tasks["register"]["dependentTasks"]) == {"snapshot", "train", "evaluate", "test"}
    containers = [each["container"] for each in compiled["deploymentSpec"]["executors"].values()]
    assert {each["image"] for each in containers} == {"registry.example/flightdeck:1"}
    assert len(containers) == 5
