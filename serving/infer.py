"""The Open Inference Protocol, version 2, over the same releases, log and rollout: for clients of KServe, Seldon, Triton and MLServer.

Its input is what such servers take of a model like ours: the feature row. `features` is FP64, shape [n, number of features], NaN or null where a value
is missing; `entity_id`, BYTES, shape [n], says what each row is about. Tensors travel as JSON, or behind it as bytes (the binary tensor extension).
"""

import math
from typing import Any, Literal

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Scope

from flightdeck.parameters import parameters
from flightdeck.partitions import EXAMPLES
from flightdeck.settings import settings
from ml.features import FEATURES, MISSING
from serving import app as service
from serving.answer import Asking, Part
from serving.body import Refusal
from serving.follower import Serving
from serving.reference import Asked
from serving.release import Release
from serving.schema import MOST_INSTANCES, InferRequest, InvalidRequest, Tensor, Wanted, read

NAME = parameters()["model"]["name"]
LENGTH = b"inference-header-content-length"
INPUTS = [{"name": "features", "datatype": "FP64", "shape": [-1, len(FEATURES)]}, {"name": "entity_id", "datatype": "BYTES", "shape": [-1]}]
KINDS: dict[Literal["probability", "label", "prediction_id"], str] = {"probability": "FP64", "label": "BOOL", "prediction_id": "BYTES"}
OUTPUTS = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in KINDS.items()]
DECODER = msgspec.json.Decoder(InferRequest)
KEY_LENGTH = len(EXAMPLES[settings().partitions])


class Infer(service.Answering):
    route = "/v2/models/{name}/infer"

    async def answer(self, body: bytes, asking: Asking, scope: Scope) -> tuple[bytes, list[Part], list[tuple[bytes, bytes]]]:
        version = known(scope["path_params"])
        head = next((value for name, value in scope["headers"] if name == LENGTH), None)
        size = len(body) if head is None else _size(head, len(body))
        request = read(DECODER, body[:size])
        rows, entities = tensors(request.inputs, memoryview(body)[size:])
        # its partition is that of the time of asking, of which the text begins like a key
        asked = [about(row, entity, asking.at[:KEY_LENGTH]) for row, entity in zip(rows, entities, strict=True)]
        found = await service.give(service.follower.now, body, asked, asking, version)
        content, headers = respond(request, found)
        return content, found, headers


def _size(head: bytes, length: int) -> int:
    if not head.isdigit() or len(head) > 9 or int(head) > length:
        raise InvalidRequest(LENGTH.decode(), "expected the length of the JSON part, at most that of the body")
    return int(head)


def known(asked: dict[str, str]) -> Release | None:
    """The release of the version that a path names, None where it names none; raises a Refusal for what does not answer."""
    now = service.follower.now
    if asked["name"] != NAME:
        raise Refusal(404, "no_model", f"the model here is {NAME}")
    if (version := asked.get("version")) is None:
        return None
    serve = {str(each.version): each for each in answering(now)}
    if version not in serve:
        raise Refusal(404, "no_version", f"version {version} does not serve; {', '.join(serve) or 'none'} does")
    return serve[version]


def answering(now: Serving) -> list[Release]:
    """The releases whose answers are given: a shadow's are not."""
    return [each for each in (now.release, now.candidate if now.share else None) if each]


def tensors(inputs: list[Tensor], binary: memoryview) -> tuple[list[list[float]], list[str]]:
    """(feature rows, entities); raises InvalidRequest."""
    rows: list[list[float]] | None = None
    entities: list[str] | None = None
    for number, tensor in enumerate(inputs):
        field, content = f"inputs[{number}]", None
        if (size := tensor.parameters.binary_data_size) is not None:
            if not 0 <= size <= len(binary):
                raise InvalidRequest(f"{field}.parameters.binary_data_size", "more than there is behind the JSON")
            content, binary = binary[:size], binary[size:]
        if tensor.name == "features":
            rows = _rows(tensor, content, field)
        else:
            entities = _texts(tensor, content, field)
    if not rows or len(rows) > MOST_INSTANCES:
        raise InvalidRequest("inputs", f"expected a tensor features, of 1 to {MOST_INSTANCES} rows")
    if entities is not None and len(entities) != len(rows):
        raise InvalidRequest("inputs", "expected as many entities as rows")
    return rows, entities or ["-"] * len(rows)


def _rows(tensor: Tensor, content: memoryview | None, field: str) -> list[list[float]]:
    width = len(FEATURES)
    if tensor.datatype != "FP64" or len(tensor.shape) != 2 or tensor.shape[1] != width or tensor.shape[0] < 0:
        raise InvalidRequest(field, f"expected datatype FP64 and shape [n, {width}]")
    if content is not None:
        if len(content) != 8 * width * tensor.shape[0]:
            raise InvalidRequest(field, "its bytes do not match its shape")
        found = np.frombuffer(content, dtype="<f8").tolist()
    else:
        try:
            flat = [value for row in tensor.data for value in row] if tensor.data and isinstance(tensor.data[0], list) else tensor.data
            found = [MISSING if value is None else value for value in msgspec.convert(flat, list[float | None])]
        except (msgspec.ValidationError, TypeError):
            raise InvalidRequest(f"{field}.data", "expected numbers or null, flat or row by row") from None
        if len(found) != width * tensor.shape[0]:
            raise InvalidRequest(f"{field}.data", "it does not match its shape")
    if any(math.isinf(value) for value in found):
        raise InvalidRequest(field, "expected finite numbers, or NaN where a value is missing")
    return [found[start : start + width] for start in range(0, len(found), width)]


def _texts(tensor: Tensor, content: memoryview | None, field: str) -> list[str]:
    if tensor.datatype != "BYTES" or len(tensor.shape) != 1:
        raise InvalidRequest(field, "expected datatype BYTES and shape [n]")
    try:
        found = msgspec.convert(tensor.data, list[str]) if content is None else list(_split(content))
    except (msgspec.ValidationError, ValueError):
        raise InvalidRequest(field, "expected a list of texts in UTF-8") from None
    if len(found) != tensor.shape[0]:
        raise InvalidRequest(field, "it does not match its shape")
    if any(not 0 < len(each) <= 200 or not each.isprintable() or "\\" in each for each in found):
        raise InvalidRequest(field, "expected 1 to 200 printable characters each, without a backslash")
    return found


def _split(content: memoryview) -> Any:
    """Texts, each behind its length in four bytes."""
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "little")
        if at + 4 + size > len(content):
            raise ValueError("it ends early")
        yield bytes(content[at + 4 : at + 4 + size]).decode()
        at += 4 + size


def about(row: list[float], entity: str, key: str) -> Asked:
    """A feature row of partition `key`, as what is logged."""
    return Asked(entity, key, None, [None if value != value else value for value in row], 0)


def respond(request: InferRequest, found: list[Part]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    probabilities = [value for each in found for value in each.probabilities]
    values: dict[str, list[Any]] = {
        "probability": probabilities,
        "label": [value >= service.LATE for value in probabilities],
        "prediction_id": [identity for each in found for identity in each.identities],
    }
    wanted = request.outputs if request.outputs is not None else [Wanted(name) for name in KINDS]
    outputs, behind = [], b""
    for each in wanted:
        kind = KINDS[each.name]
        told: dict[str, Any] = {"name": each.name, "datatype": kind, "shape": [len(probabilities)]}
        binary = request.parameters.binary_data_output if each.parameters.binary_data is None else each.parameters.binary_data
        if binary:
            content = _bytes(kind, values[each.name])
            outputs.append(told | {"parameters": {"binary_data_size": len(content)}})
            behind += content
        else:
            outputs.append(told | {"data": values[each.name]})
    version = found[0].release.version
    head = service.ENCODE({"model_name": NAME, "model_version": str(version), "outputs": outputs} | ({"id": request.id} if request.id else {}))
    if not behind:
        return head, service.JSON
    return head + behind, [(b"content-type", b"application/octet-stream"), (LENGTH, b"%d" % len(head))]


def _bytes(kind: str, values: list[Any]) -> bytes:
    if kind == "BYTES":
        return b"".join(len(each).to_bytes(4, "little") + each.encode() for each in values)
    return np.array(values, dtype="<f8" if kind == "FP64" else np.bool_).tobytes()


async def live(_: Request) -> JSONResponse:
    return JSONResponse({"live": True})


async def server(_: Request) -> JSONResponse:
    return JSONResponse({"name": "flightdeck", "version": "2", "extensions": ["binary_tensor_data"]})


async def model(request: Request) -> JSONResponse:
    try:
        known(request.path_params)
    except Refusal as refusal:
        return JSONResponse(refusal.content, refusal.status)
    now = service.follower.now
    versions = [str(each.version) for each in answering(now)]
    return JSONResponse({"name": NAME, "versions": versions, "platform": "flightdeck", "inputs": INPUTS, "outputs": OUTPUTS})


async def model_ready(request: Request) -> JSONResponse:
    try:
        known(request.path_params)
    except Refusal as refusal:
        return JSONResponse({"ready": False} | refusal.content, refusal.status)
    there = service.follower.now.release is not None
    return JSONResponse({"name": NAME, "ready": there}, 200 if there else 503)
