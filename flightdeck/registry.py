"""The model registry over MLflow's REST API: what serving needs of it, without MLflow's seconds of imports."""

import hashlib
from typing import Any

import httpx

from flightdeck.parameters import parameters
from flightdeck.settings import settings

API = "/api/2.0/mlflow"


class RegistryError(RuntimeError):
    """The registry did not answer, or not what was asked; the message names the request."""


class Tampered(RegistryError):
    """A model file is not the one that was released."""


def _call(method: str, path: str, **arguments: Any) -> httpx.Response:
    try:
        answer = httpx.request(method, settings().url("mlflow") + path, auth=("admin", settings().secret("mlflow_admin")), timeout=20, **arguments)
    except httpx.HTTPError as error:
        raise RegistryError(f"registry, {method} {path}: {error}") from error
    if answer.is_error and answer.status_code != 404:
        raise RegistryError(f"registry, {method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer


def artifact(path: str) -> bytes:
    """The bytes of an artifact, by its path below the artifact root."""
    answer = _call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}")
    if answer.status_code == 404:
        raise RegistryError(f"registry has no artifact {path}")
    return answer.content


def put_artifact(path: str, content: bytes) -> None:
    """Keep `content` as an artifact, by its path below the artifact root."""
    _call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=content, headers={"content-type": "application/octet-stream"})


def delete_artifact(path: str) -> None:
    _call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{path}")


def set_alias(alias: str, version: int) -> None:
    _call("POST", f"{API}/registered-models/alias", json={"name": parameters()["model"]["name"], "alias": alias, "version": str(version)})


def alias(name: str) -> int | None:
    """The version behind an alias, or None."""
    answer = _call("GET", f"{API}/registered-models/get", params={"name": parameters()["model"]["name"]})
    if answer.status_code == 404:
        return None
    aliases = {entry["alias"]: int(entry["version"]) for entry in answer.json()["registered_model"].get("aliases", [])}
    return aliases.get(name)


def model(release: dict[str, Any]) -> bytes:
    """The model file of a release; raises Tampered when its bytes are not the ones that were released."""
    content = artifact(release["artifact"])
    found = hashlib.sha256(content).hexdigest()
    if found != release["sha256"]:
        raise Tampered(f"model version {release['model_version']}: the stored file has sha256 {found[:12]}…, the release {release['sha256'][:12]}…")
    return content


def versions() -> list[int]:
    """The numbers of all registered versions, in order."""
    wanted = {"filter": f"name='{parameters()['model']['name']}'", "max_results": 10_000}
    return sorted(int(each["version"]) for each in _call("GET", f"{API}/model-versions/search", params=wanted).json().get("model_versions", []))


def version(number: int) -> dict[str, Any] | None:
    """The registry's entry of a version, with its tags as {name: value}; None if there is no such version."""
    answer = _call("GET", f"{API}/model-versions/get", params={"name": parameters()["model"]["name"], "version": str(number)})
    if answer.status_code == 404:
        return None
    found: dict[str, Any] = answer.json()["model_version"]
    return found | {"tags": _tags(found)}


def run(run_id: str) -> dict[str, Any]:
    """A run: its `experiment_id`, and its tags as {name: value}."""
    answer = _call("GET", f"{API}/runs/get", params={"run_id": run_id})
    if answer.status_code == 404:
        raise RegistryError(f"MLflow has no run {run_id}")
    found = answer.json()["run"]
    return {"experiment_id": found["info"]["experiment_id"], "tags": _tags(found["data"])}


def describe(number: int, text: str) -> None:
    """Make `text` (Markdown) the description of a version."""
    answer = _call("PATCH", f"{API}/model-versions/update", json={"name": parameters()["model"]["name"], "version": str(number), "description": text})
    if answer.status_code == 404:
        raise RegistryError(f"the registry has no version {number} to describe")


def _tags(entry: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in entry.get("tags", [])}
