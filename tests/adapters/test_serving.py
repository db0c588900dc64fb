"""A release in MLServer and in KServe's server, in their own environments, asked by public clients: our own answers to the last digit."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import yaml
from click.testing import CliRunner

from flightdeck import ledger, registry
from flightdeck.launch import common
from flightdeck.parameters import parameters
from flightdeck.settings import ROOT
from ml import pipeline
from ml.dataset import matrix
from ml.features import FEATURES
from ml.learners import Matrix
from ml.learners import load as load_model
from serving.adapters import folder, loaded
from serving.release import ReleaseRefused
from tests.ml.conftest import Months
from tests.ml.rows import table
from tests.sandbox import free_ports

KEY = "1996-01"
NAME = parameters()["model"]["name"]
SERVERS = ["kserve", "mlserver"]
# parses each document as the SDK's own class of that name, and says what comes back of it
PARSE = """
import importlib, json, pkgutil, sys
from types import SimpleNamespace
import kserve.models
from kubernetes import client
for module in pkgutil.iter_modules(kserve.models.__path__, "kserve.models."):
    for name, known in vars(importlib.import_module(module.name)).items():
        if name.startswith("V1") and not hasattr(client.models, name):
            setattr(client.models, name, known)
api = client.ApiClient()
for kind, document in json.load(sys.stdin):
    print(json.dumps(api.sanitize_for_serialization(api.deserialize(SimpleNamespace(data=json.dumps(document)), kind))))
"""


class Served(NamedTuple):
    name: str
    http: str
    grpc: str
    version: str


@pytest.fixture(scope="module")
def release(published_months: Months) -> Iterator[dict[str, Any]]:
    """A release that our own pipeline has made."""
    with published_months([KEY], 4400):
        ledger.Attempt("decide", KEY, 1, facts={"retrain": True, "reasons": ["first"]}).record("done")
        pipeline.train(KEY)
        row = ledger.last("train", KEY)
        assert row is not None
        yield row["outputs"]["release"]


@pytest.fixture(scope="module")
def exported(release: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of the release."""
    made = tmp_path_factory.mktemp("release")
    asked = [str(release["model_version"]), str(made), "--uri", "s3://models/late/1", "--kserve", "ours/kserve:1", "--mlserver", "ours/mlserver:1"]
    done = CliRunner().invoke(folder.main, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return made


@pytest.fixture(scope="module")
def rows() -> Matrix:
    """300 rows; a fifth has a value missing."""
    found = matrix(table("1996-02", 300))
    assert 30 < np.isnan(found).any(axis=1).sum() < 100
    return found


@pytest.fixture(scope="module")
def expected(release: dict[str, Any], rows: Matrix) -> list[float]:
    """Our own answers."""
    found: list[float] = load_model(release).predict(rows).tolist()
    assert len(set(found)) > 200
    return found


def _command(server: str, python: Path, model: Path, ports: list[int]) -> tuple[list[str], dict[str, str]]:
    surroundings = os.environ | common() | {"PYTHONPATH": str(ROOT)}
    if server == "kserve":
        told = [f"--folder={model}", f"--model_name={NAME}", f"--http_port={ports[0]}", f"--grpc_port={ports[1]}"]
        return [str(python), "-m", "serving.adapters.on_kserve", *told], surroundings
    names = ("HTTP_PORT", "GRPC_PORT", "METRICS_PORT")
    surroundings |= {f"MLSERVER_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    surroundings |= {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_PARALLEL_WORKERS": "0"}
    return [str(python.with_name("mlserver")), "start", str(model)], surroundings


@pytest.fixture(scope="module", params=SERVERS)
def served(
    request: pytest.FixtureRequest, exported: Path, release: dict[str, Any], environment: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    python = environment(f"serving/adapters/requirements-{request.param}.lock")
    ports = [port for port, _ in zip(free_ports(), range(3), strict=False)]
    command, surroundings = _command(request.param, python, exported / "model", ports)
    log = tmp_path_factory.mktemp(request.param) / "log"
    with log.open("w") as out, subprocess.Popen(command, env=surroundings, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            address = f"http://127.0.0.1:{ports[0]}"
            _await(f"{address}/v2/models/{NAME}/ready", process, log)
            yield Served(request.param, f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", str(release["model_version"]))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(log.read_text()[-3000:])


def test_a_public_client_gets_our_answers(served: Served, rows: Matrix, expected: list[float]) -> None:
    whole = ~np.isnan(rows).any(axis=1)
    assert whole.sum() >= 200
    # KServe's server asks for it, and the client does not say it by itself
    headers = {"content-type": "application/json"}
    with triton.InferenceServerClient(served.http) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        given = triton.InferInput("features", rows[whole].shape, "FP64")
        # JSON has no NaN
        given.set_data_from_numpy(rows[whole], binary_data=False)
        found = client.infer(NAME, [given], outputs=[triton.InferRequestedOutput("probability", binary_data=False)], request_id="mine", headers=headers)
    assert found.as_numpy("probability").tolist() == [value for value, each in zip(expected, whole, strict=True) if each]
    assert (found.get_response()["model_version"], found.get_response()["id"]) == (served.version, "mine")


def test_missing_values_travel_as_null_and_over_grpc_as_bytes(served: Served, rows: Matrix, expected: list[float]) -> None:
    flat = [None if np.isnan(value) else value for value in rows.flatten().tolist()]
    asked = {"inputs": [{"name": "features", "datatype": "FP64", "shape": list(rows.shape), "data": flat}]}
    answer = httpx.post(f"http://{served.http}/v2/models/{NAME}/infer", json=asked).raise_for_status().json()
    assert answer["outputs"][0]["data"] == expected
    with triton_grpc.InferenceServerClient(served.grpc) as client:
        given = triton_grpc.InferInput("features", list(rows.shape), "FP64")
        given.set_data_from_numpy(rows)
        assert client.infer(NAME, [given]).as_numpy("probability").flatten().tolist() == expected


# MLServer has no binary tensor extension over HTTP
@pytest.mark.parametrize("served", ["kserve"], indirect=True, scope="module")
def test_kserve_takes_and_gives_tensors_as_bytes(served: Served, rows: Matrix, expected: list[float]) -> None:
    with triton.InferenceServerClient(served.http) as client:
        given = triton.InferInput("features", rows.shape, "FP64")
        given.set_data_from_numpy(rows)
        found = client.infer(NAME, [given], outputs=[triton.InferRequestedOutput("probability")])
    assert found.as_numpy("probability").tolist() == expected
    assert found.get_response()["outputs"][0]["parameters"] == {"binary_data_size": 8 * len(rows)}


def test_what_is_no_row_of_features_is_refused_with_the_reason(served: Served) -> None:
    for tensor in (
        {"name": "features", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]},
        {"name": "other", "datatype": "FP64", "shape": [1, 1], "data": [1.0]},
    ):
        answer = httpx.post(f"http://{served.http}/v2/models/{NAME}/infer", json={"inputs": [tensor]})
        assert answer.status_code == 400
        assert f"[n, {len(FEATURES)}]" in answer.text


def test_the_folder_is_the_release(exported: Path, release: dict[str, Any]) -> None:
    assert {path.name for path in (exported / "model").iterdir()} == {"model.lgb", "release.json", "model-settings.json"}
    assert (exported / "model/model.lgb").read_bytes() == registry.model(release)
    assert json.loads((exported / "model/release.json").read_text())["sha256"] == release["sha256"]
    assert loaded.load(exported / "model").version == release["model_version"]
    with pytest.raises(folder.NoRelease, match="no version 99999"):
        folder.release(99999)


def test_another_file_than_the_released_one_is_refused(exported: Path, environment: Callable[[str], Path], tmp_path: Path) -> None:
    model = shutil.copytree(exported / "model", tmp_path / "model")
    (model / "model.lgb").write_text((model / "model.lgb").read_text().replace("leaf_value=", "leaf_value=0", 1))
    with pytest.raises(ReleaseRefused, match="its sha256 is another"):
        loaded.load(model)
    command, surroundings = _command("kserve", environment("serving/adapters/requirements-kserve.lock"), model, list(range(3)))
    done = subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode != 0
    assert "its sha256 is another" in done.stderr


def test_kserves_own_classes_know_all_of_its_manifest_and_of_both_pods(exported: Path, environment: Callable[[str], Path]) -> None:
    [service] = yaml.safe_load_all((exported / "kserve.yaml").read_text())
    server, _ = yaml.safe_load_all((exported / "seldon.yaml").read_text())
    documents = [("V1beta1InferenceService", service), ("V1PodSpec", server["spec"]["podSpec"])]
    python = environment("serving/adapters/requirements-kserve.lock")
    wrong = [("V1PodSpec", {"containers": [{"name": "a", "picture": "b"}]})]
    done = subprocess.run([python, "-c", PARSE], input=json.dumps(documents + wrong), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    # a field that a class does not know is lost on the way
    assert found[:2] == [document for _, document in documents]
    assert found[2] != wrong[0][1]


def test_the_manifests_are_of_the_release(exported: Path, release: dict[str, Any]) -> None:
    [service] = yaml.safe_load_all((exported / "kserve.yaml").read_text())
    server, model = yaml.safe_load_all((exported / "seldon.yaml").read_text())
    for document in (service, model):
        assert document["metadata"]["name"] == NAME.replace("_", "-")
        assert document["metadata"]["annotations"]["flightdeck/sha256"] == release["sha256"]
        assert document["metadata"]["annotations"]["flightdeck/snapshot-md5"] == release["snapshot_md5"]
    assert service["spec"]["predictor"]["storageUris"] == [{"uri": "s3://models/late/1", "mountPath": "/models"}]
    assert f"--model_name={NAME}" in service["spec"]["predictor"]["containers"][0]["command"]
    assert model["spec"]["storageUri"] == "s3://models/late/1"
    assert set(model["spec"]["requirements"]) <= set(server["spec"]["capabilities"])
    # the fields that the custom resource Model of Seldon Core 2 has
    assert set(model["spec"]) <= {"storageUri", "requirements", "memory", "replicas", "secretName", "parameters", "server", "logger"}
