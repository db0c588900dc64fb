"""The Open Inference Protocol: the same answers as /predict, for public clients, in JSON and in bytes; what is wrong is named."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from flightdeck.predictions import await_logged
from flightdeck.warehouse import Connection
from ml.features import FEATURES
from serving.follower import Follower
from serving.schema import MOST_INSTANCES

PATH = "/v2/models/late_arrival/infer"
ROW = [float(number) for number in range(len(FEATURES))]


def features(*rows: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "features", "datatype": "FP64", "shape": [len(rows), len(FEATURES)], "data": [*rows]} | more


def refused(answer: httpx.Response, field: str) -> bool:
    return (answer.status_code, answer.json()["error"], answer.json()["field"]) == (400, "invalid", field)


def test_a_public_client_gets_the_same_answers(serving: int, address: tuple[str, int], follower: Follower, connection: Connection) -> None:
    release = follower.now.release
    assert release
    rows = np.random.default_rng(3).normal(size=(7, len(FEATURES))) * 50
    rows[0, 3] = np.nan
    with triton.InferenceServerClient(f"{address[0]}:{address[1]}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("late_arrival")
        assert client.is_model_ready("late_arrival", str(serving))
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        told = client.get_model_metadata("late_arrival")
        assert told["versions"] == [str(serving)]
        assert told["inputs"][0] == {"name": "features", "datatype": "FP64", "shape": [-1, len(FEATURES)]}
        for binary in (True, False):
            given, about = triton.InferInput("features", rows.shape, "FP64"), triton.InferInput("entity_id", [7], "BYTES")
            # JSON has no NaN
            given.set_data_from_numpy(rows if binary else np.nan_to_num(rows), binary_data=binary)
            about.set_data_from_numpy(np.array([f"2015-02-03T10:00:00Z/UA/{n}".encode() for n in range(7)], dtype=object), binary_data=binary)
            wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probability", "prediction_id", "label")]
            found = client.infer("late_arrival", [given, about], outputs=wanted, request_id="mine", headers={"x-purpose": "probe"})
            answer = found.get_response()
            assert (answer["model_version"], answer["id"]) == (str(serving), "mine")
            expected = release.predict((rows if binary else np.nan_to_num(rows)).tolist())
            assert found.as_numpy("probability").tolist() == expected
            assert found.as_numpy("label").tolist() == [value >= 0.5 for value in expected]
            ids = [each.decode() if isinstance(each, bytes) else each for each in found.as_numpy("prediction_id").tolist()]
            await_logged(ids)
            logged = connection.execute("select entity_id, probability, features from ops.predictions where prediction_id = %s", (ids[0],)).fetchone()
            assert logged
            assert (logged["entity_id"], logged["probability"]) == ("2015-02-03T10:00:00Z/UA/0", expected[0])
            assert (logged["features"][FEATURES[3]] is None) == binary
            assert list(logged["features"].values()).count(None) == (1 if binary else 0)


def test_rows_may_be_flat_or_not_and_null_is_a_missing_value(serving: int, client: httpx.Client, follower: Follower) -> None:
    row = [None, *ROW[1:]]
    flat = client.post(PATH, json={"inputs": [features(data=row, shape=[1, len(FEATURES)])]}, headers={"x-purpose": "probe"})
    deep = client.post(PATH, json={"inputs": [features(row)]}, headers={"x-purpose": "probe"})
    assert follower.now.release
    expected = follower.now.release.predict([[float("nan"), *ROW[1:]]])
    assert flat.json()["outputs"][0]["data"] == deep.json()["outputs"][0]["data"] == expected


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ([], "inputs"),
        ([features()], "inputs"),
        ([features(ROW[1:])], "inputs[0].data"),
        ([features(ROW, shape=[2, len(FEATURES)])], "inputs[0].data"),
        ([features(ROW, shape=[1, 3])], "inputs[0]"),
        ([features(ROW, shape=[-1, len(FEATURES)])], "inputs[0]"),
        ([features(ROW, datatype="BYTES")], "inputs[0]"),
        ([features(["a", *ROW[1:]])], "inputs[0].data"),
        ([features([True, *ROW[1:]])], "inputs[0].data"),
        ([features(data={"a": 1})], "inputs[0].data"),
        ([features(ROW, parameters={"binary_data_size": 8})], "inputs[0].parameters.binary_data_size"),
        ([features(ROW, parameters={"binary_data_size": -8})], "inputs[0].parameters.binary_data_size"),
        ([features(ROW), {"name": "other", "datatype": "FP64", "shape": [1], "data": [1]}], "inputs[1].name"),
        ([features(ROW), {"name": "entity_id", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}], "inputs"),
        ([features(ROW), {"name": "entity_id", "datatype": "BYTES", "shape": [1], "data": ["a\tb"]}], "inputs[1]"),
        ([features(ROW), {"name": "entity_id", "datatype": "BYTES", "shape": [1], "data": ["a\\b"]}], "inputs[1]"),
        ([features(ROW), {"name": "entity_id", "datatype": "BYTES", "shape": [1], "data": [1]}], "inputs[1]"),
    ],
)
def test_what_is_wrong_is_named(serving: int, client: httpx.Client, inputs: list[Any], field: str) -> None:
    assert refused(client.post(PATH, json={"inputs": inputs}), field)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
def test_a_number_that_is_none_is_refused(serving: int, client: httpx.Client, number: str) -> None:
    body = json.dumps({"inputs": [features(ROW)]}).replace("[0.0,", f"[{number},")
    assert client.post(PATH, content=body).status_code == 400


@pytest.mark.parametrize("length", ["abc", "-1", "99999", "9" * 40])
def test_a_length_of_the_json_that_is_none_is_refused(serving: int, client: httpx.Client, length: str) -> None:
    answer = client.post(PATH, json={"inputs": [features(ROW)]}, headers={"inference-header-content-length": length})
    assert refused(answer, "inference-header-content-length")


def test_bytes_that_do_not_match_are_refused(serving: int, client: httpx.Client) -> None:
    def post(tensor: dict[str, Any], behind: bytes) -> httpx.Response:
        head = json.dumps({"inputs": [features(ROW, data=None), tensor] if tensor["name"] == "entity_id" else [tensor]}).encode()
        return client.post(PATH, content=head + behind, headers={"inference-header-content-length": str(len(head))})

    assert refused(post(features(ROW, data=None, parameters={"binary_data_size": 9}), b"x" * 9), "inputs[0]")
    infinite = np.full(len(FEATURES), np.inf).tobytes()
    assert refused(post(features(ROW, data=None, parameters={"binary_data_size": len(infinite)}), infinite), "inputs[0]")
    entity = {"name": "entity_id", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
    assert post(entity, b"\xff\xff\xff\xffx").status_code == 400


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/infer", "/v2/models/late_arrival/versions/1", "/v2/models/late_arrival/versions/1/ready"]
)
def test_what_does_not_serve_is_not_there(serving: int, client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"inputs": [features(ROW)]}) if path.endswith("infer") else client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, "no_version" if "versions" in path else "no_model")


def test_a_named_version_answers(serving: int, client: httpx.Client) -> None:
    answer = client.post(f"/v2/models/late_arrival/versions/{serving}/infer", json={"inputs": [features(ROW)]}, headers={"x-purpose": "probe"})
    assert answer.json()["model_version"] == str(serving)


def test_only_wanted_outputs_are_given(serving: int, client: httpx.Client) -> None:
    answer = client.post(PATH, json={"inputs": [features(ROW)], "outputs": [{"name": "label"}]}, headers={"x-purpose": "probe"})
    assert [each["name"] for each in answer.json()["outputs"]] == ["label"]
    assert client.post(PATH, json={"inputs": [features(ROW)], "outputs": [{"name": "other"}]}).status_code == 400


def test_too_many_rows_are_refused(serving: int, client: httpx.Client) -> None:
    assert refused(client.post(PATH, json={"inputs": [features(*[[0.0] * len(FEATURES)] * (MOST_INSTANCES + 1))]}), "inputs")


def test_before_the_first_release_nothing_is_ready(client: httpx.Client, look: Callable[[], None]) -> None:
    assert client.post(PATH, json={"inputs": [features(ROW)]}).status_code == 503
    assert client.get("/v2/models/late_arrival/ready").status_code == 503
