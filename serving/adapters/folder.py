"""A release as a folder for other servers, with what deploys it on a cluster.

`python -m serving.adapters.folder VERSION FOLDER --uri WHERE-THE-FOLDER-WILL-BE --kserve IMAGE --mlserver IMAGE` writes
FOLDER/model/ (the model's file, release.json and MLServer's settings), which is to be copied to the URI, FOLDER/kserve.yaml and FOLDER/seldon.yaml.
"""

import json
from pathlib import Path
from typing import Any

import click
import yaml

from flightdeck import registry
from flightdeck.parameters import parameters
from serving.adapters.loaded import INPUT, OUTPUT, RELEASE, load

# where KServe is to put what is at the URI
MOUNTED = "/models"
CAPABILITY = "flightdeck-release"


class NoRelease(RuntimeError):
    """The registry has no such version."""


def release(number: int) -> dict[str, Any]:
    """The release of a registered version, as it was logged; raises NoRelease or RegistryError."""
    found = registry.version(number)
    if found is None:
        raise NoRelease(f"there is no version {number}")
    place = f"{registry.run(found['run_id'])['experiment_id']}/{found['run_id']}/artifacts"
    return {"model_version": number, **json.loads(registry.artifact(f"{place}/{RELEASE}"))}


def export(manifest: dict[str, Any], folder: Path) -> None:
    """Write the release into `folder`, and load it from there; raises Tampered or ReleaseRefused."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RELEASE).write_text(json.dumps(manifest, indent=1) + "\n")
    (folder / Path(manifest["artifact"]).name).write_bytes(registry.model(manifest))
    (folder / "model-settings.json").write_text(json.dumps(mlserver(manifest), indent=1) + "\n")
    load(folder)


def mlserver(manifest: dict[str, Any]) -> dict[str, Any]:
    """MLServer's settings of the model, beside its file."""
    return {
        "name": parameters()["model"]["name"],
        "implementation": "serving.adapters.on_mlserver.ReleaseModel",
        "parameters": {"uri": ".", "version": str(manifest["model_version"])},
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, len(manifest["features"])]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}],
    }


def kserve(manifest: dict[str, Any], uri: str, image: str) -> list[dict[str, Any]]:
    """An InferenceService of KServe, of an image with this repository and kserve."""
    command = ["python", "-m", "serving.adapters.on_kserve", f"--folder={MOUNTED}", f"--model_name={parameters()['model']['name']}"]
    predictor = {
        "containers": [{"name": "kserve-container", "image": image, "command": command, "ports": [{"containerPort": 8080, "protocol": "TCP"}]}],
        "storageUris": [{"uri": uri, "mountPath": MOUNTED}],
    }
    return [{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": _metadata(manifest), "spec": {"predictor": predictor}}]


def seldon(manifest: dict[str, Any], uri: str, image: str) -> list[dict[str, Any]]:
    """Seldon Core 2: a Server of an image with this repository and MLServer, and the Model on it."""
    kind = {"apiVersion": "mlops.seldon.io/v1alpha1"}
    pod = {"containers": [{"name": "mlserver", "image": image}]}
    server = {"serverConfig": "mlserver", "capabilities": [CAPABILITY], "podSpec": pod}
    return [
        {**kind, "kind": "Server", "metadata": {"name": CAPABILITY}, "spec": server},
        {**kind, "kind": "Model", "metadata": _metadata(manifest), "spec": {"storageUri": uri, "requirements": [CAPABILITY]}},
    ]


def _metadata(manifest: dict[str, Any]) -> dict[str, Any]:
    told = {"version": manifest["model_version"], "sha256": manifest["sha256"], "snapshot-md5": manifest["snapshot_md5"], "code": manifest["code"]}
    # Kubernetes takes no underscore in a name
    name = parameters()["model"]["name"].replace("_", "-").lower()
    return {"name": name, "annotations": {f"flightdeck/{key}": str(value) for key, value in told.items()}}


@click.command(help=__doc__)
@click.argument("version", type=int)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--uri", required=True)
@click.option("--kserve", "kserve_image", required=True)
@click.option("--mlserver", "mlserver_image", required=True)
def main(version: int, folder: Path, uri: str, kserve_image: str, mlserver_image: str) -> None:
    manifest = release(version)
    export(manifest, folder / "model")
    for name, documents in (("kserve", kserve(manifest, uri, kserve_image)), ("seldon", seldon(manifest, uri, mlserver_image))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))


if __name__ == "__main__":
    main()
