"""Manifests as data, and what is wrong with them: what a schema cannot say."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flightdeck.settings import ROOT

KUBERNETES = ROOT / "infra/kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
Document = dict[str, Any]
ROLES = {"runs-tasks": {"create", "get", "list", "watch", "patch", "delete"}, "reads-logs": {"get", "list"}}
MAY_ASK_THE_CLUSTER = {"airflow-scheduler", "airflow-api-server"}
# which Secret each kind of pod has, where it is not that of its name
SECRETS = {f"airflow-{part}": "airflow" for part in ("api-server", "scheduler", "dag-processor", "triggerer")} | {
    "migrate": "platform",
    "flightdeck": "platform",
}


def built(kubectl: Path, overlay: str) -> list[Document]:
    """What is applied: kustomize's output, and the pod of a task, which is a file of the scheduler's."""
    command = [str(kubectl), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def task(documents: list[Document]) -> Document:
    (pod,) = [yaml.safe_load(each["data"]["task.yaml"]) for each in documents if each["kind"] == "ConfigMap" and "task.yaml" in each["data"]]
    found: Document = pod
    return found


def of(documents: list[Document], *kinds: str) -> Iterator[Document]:
    return (each for each in documents if each["kind"] in kinds)


def pods(documents: list[Document]) -> dict[str, Document]:
    """{name of what makes it: the pod's metadata and spec}."""
    templates = {each["metadata"]["name"]: each["spec"]["template"] for each in of(documents, "Deployment", "StatefulSet", "Job")}
    return templates | {"task": task(documents)}


def faults(documents: list[Document]) -> list[str]:
    found = [f"{name}: {fault}" for name, pod in pods(documents).items() for fault in (*_of_pod(name, pod["spec"]), *_of_container(name, pod["spec"]))]
    return found + list(_of_names(documents)) + list(_of_rights(documents)) + list(_of_secrets(documents))


def _of_pod(name: str, spec: Document) -> Iterator[str]:
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables of other services"
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")) or any("hostPath" in volume for volume in spec["volumes"]):
        yield "reaches into its node"
    wanted = f"secrets-{SECRETS.get(name, name)}"
    if others := {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} - {wanted}:
        yield f"has another's secrets: {others}"


def _of_container(name: str, spec: Document) -> Iterator[str]:
    for each in (*spec.get("initContainers", []), *spec["containers"]):
        security = each.get("securityContext", {})
        if (
            security.get("allowPrivilegeEscalation") is not False
            or not security.get("readOnlyRootFilesystem")
            or security.get("capabilities") != {"drop": ["ALL"]}
        ):
            yield f"{each['name']} may do too much"
        resources = each.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() & resources.get("limits", {}).keys():
            yield f"{each['name']} has no requests or limits"
        if any("SECRET" in variable["name"] or "PASSWORD" in variable["name"] for variable in each.get("env", []) if not variable["name"].endswith("_FILE")):
            yield f"{each['name']} has a secret in its environment"
        if name not in ("task", "migrate") and each in spec["containers"] and "livenessProbe" not in each:
            yield f"{each['name']} has no probe"


def _matches(selector: Document, labels: Document) -> bool:
    expressions = [labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])]
    return selector.get("matchLabels", {}).items() <= labels.items() and all(expressions)


def _of_names(documents: list[Document]) -> Iterator[str]:
    """What refers to something that is not there: the server takes all of it."""
    labels = [pod["metadata"]["labels"] for pod in pods(documents).values()]
    for each in of(documents, "Deployment", "StatefulSet"):
        if not _matches(each["spec"]["selector"], each["spec"]["template"]["metadata"]["labels"]):
            yield f"{each['metadata']['name']}: its selector is not its pods'"
    for each, selector in _selectors(documents):
        if not any(_matches(selector, found) for found in labels):
            yield f"{each['kind']} {each['metadata']['name']} selects nothing: {selector}"
    known = {(each["kind"], each["metadata"]["name"]) for each in documents}
    for each in of(documents, "HorizontalPodAutoscaler"):
        if (each["spec"]["scaleTargetRef"]["kind"], each["spec"]["scaleTargetRef"]["name"]) not in known:
            yield f"{each['metadata']['name']} scales nothing"
    for name, pod in pods(documents).items():
        yield from (f"{name}: there is no {kind} {called}" for kind, called in sorted(_named(pod["spec"]) - known))


def _selectors(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """(whose, selector) of all that select pods; of a list of neighbours, each one."""
    for each in of(documents, "Service"):
        yield each, {"matchLabels": each["spec"]["selector"]}
    for each in of(documents, "PodDisruptionBudget"):
        yield each, each["spec"]["selector"]
    for each in of(documents, "NetworkPolicy"):
        yield each, each["spec"]["podSelector"]
        sides = [side["podSelector"] for rule in each["spec"].get("ingress", []) for side in rule.get("from", []) if "podSelector" in side]
        for one in (one for side in sides for one in side["matchExpressions"]):
            yield from ((each, {"matchLabels": {one["key"]: value}}) for value in one["values"])


def _named(spec: Document) -> set[tuple[str, str]]:
    """(kind, name) of what a pod needs beside secrets."""
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    maps = [each["configMapRef"]["name"] for container in spec["containers"] for each in container.get("envFrom", [])]
    return {
        ("ServiceAccount", spec.get("serviceAccountName", "default")),
        *(("PersistentVolumeClaim", each) for each in claims),
        *(("ConfigMap", each) for each in maps),
    }


def _of_rights(documents: list[Document]) -> Iterator[str]:
    """Only the two may ask the cluster, in their namespace, and only for pods."""
    asking = {each["metadata"]["name"] for each in of(documents, "ServiceAccount") if each.get("automountServiceAccountToken") is not False}
    for name, pod in pods(documents).items():
        if pod["spec"].get("serviceAccountName") in asking and pod["spec"].get("automountServiceAccountToken") is not False and name not in MAY_ASK_THE_CLUSTER:
            yield f"{name} has a token of the cluster's"
    for each in of(documents, "Role", "ClusterRole", "ClusterRoleBinding"):
        verbs = {verb for rule in each.get("rules", []) for verb in rule["verbs"]}
        resources = {resource for rule in each.get("rules", []) for resource in rule["resources"]}
        if each["kind"] != "Role" or not verbs <= ROLES.get(each["metadata"]["name"], set()) or not resources <= {"pods", "pods/log"}:
            yield f"{each['kind']} {each['metadata']['name']} may too much"
    denied = [
        each for each in of(documents, "NetworkPolicy") if each["spec"]["podSelector"] == {} and "ingress" not in each["spec"] and "egress" not in each["spec"]
    ]
    if [set(each["spec"]["policyTypes"]) for each in denied] != [{"Ingress", "Egress"}]:
        yield "what is not allowed is not denied"


def _of_secrets(documents: list[Document]) -> Iterator[str]:
    yield from (f"Secret {each['metadata']['name']} has values in the repository" for each in of(documents, "Secret"))
    for each in of(documents, "ConfigMap"):
        for name, value in each["data"].items():
            telling = any(word in name for word in ("PASSWORD", "SECRET", "TOKEN")) and value not in ("true", "false")
            if telling or re.search(r"://[^/\s]*@", value):
                yield f"ConfigMap {each['metadata']['name']}: {name} looks like a secret"
