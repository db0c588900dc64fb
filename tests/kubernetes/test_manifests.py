"""The manifests: right by the schema of a current version, and by what no schema says; each check is seen to find its fault."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flightdeck.secrets import SHARES
from tests.kubernetes.manifests import KUBERNETES, OVERLAYS, Document, built, faults, of, pods, task

VERSION = "1.35"


@pytest.fixture(scope="module", params=OVERLAYS)
def documents(request: pytest.FixtureRequest, kubectl: Path) -> list[Document]:
    return built(kubectl, request.param)


def validated(checks: Path, folder: Path, documents: list[Document]) -> "subprocess.CompletedProcess[str]":
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    command = [str(checks / "kubernetes-validate"), "--strict", "--kubernetes-version", VERSION, str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_schema_of_a_current_version_takes_them(documents: list[Document], checks: Path, tmp_path: Path) -> None:
    assert len(documents) > 30
    done = validated(checks, tmp_path, [*documents, task(documents)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_refuses_a_field_that_is_none(documents: list[Document], checks: Path, tmp_path: Path) -> None:
    broken = copy.deepcopy(documents)
    next(of(broken, "StatefulSet"))["spec"]["replica"] = 2
    assert validated(checks, tmp_path, broken).returncode != 0


def test_nothing_is_wrong_with_them(documents: list[Document]) -> None:
    assert {"airflow-scheduler", "mlflow", "serving", "reports", "world", "migrate", "task"} <= set(pods(documents))
    assert faults(documents) == []


def spec(documents: list[Document], name: str) -> Any:
    return next(each for each in documents if each["metadata"]["name"] == name and each["kind"] in ("Deployment", "StatefulSet", "Job"))["spec"]["template"][
        "spec"
    ]


PLANTED: dict[str, tuple[Callable[[list[Document]], Any], str]] = {
    "root": (lambda d: spec(d, "mlflow")["securityContext"].update(runAsNonRoot=False), "mlflow: may run as root"),
    "seccomp": (lambda d: spec(d, "mlflow")["securityContext"].pop("seccompProfile"), "mlflow: no seccomp profile"),
    "links": (lambda d: spec(d, "mlflow").pop("enableServiceLinks"), "mlflow: gets variables"),
    "node": (lambda d: spec(d, "mlflow")["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "mlflow: reaches into its node"),
    "secrets": (lambda d: spec(d, "world")["volumes"].append({"name": "x", "secret": {"secretName": "secrets-airflow"}}), "world: has another's secrets"),
    "capabilities": (lambda d: spec(d, "serving")["containers"][0]["securityContext"].pop("capabilities"), "serving: serving may do too much"),
    "limits": (lambda d: spec(d, "reports")["containers"][0]["resources"].pop("limits"), "reports: reports has no requests or limits"),
    "environment": (
        lambda d: spec(d, "mlflow")["containers"][0].setdefault("env", []).append({"name": "PASSWORD", "value": "x"}),
        "mlflow: mlflow has a secret",
    ),
    "probe": (lambda d: spec(d, "airflow-triggerer")["containers"][0].pop("livenessProbe"), "airflow-triggerer: triggerer has no probe"),
    "selector": (lambda d: next(of(d, "StatefulSet"))["spec"]["selector"]["matchLabels"].update(a="b"), "its selector is not its pods'"),
    "service": (lambda d: next(of(d, "Service"))["spec"]["selector"].update(a="b"), "selects nothing"),
    "neighbour": (
        lambda d: next(each for each in of(d, "NetworkPolicy") if each["metadata"]["name"] == "to-mlflow")["spec"]["ingress"][0]["from"][0]["podSelector"][
            "matchExpressions"
        ][0]["values"].append("nobody"),
        "NetworkPolicy to-mlflow selects nothing",
    ),
    "account": (lambda d: spec(d, "mlflow").update(serviceAccountName="nobody"), "mlflow: there is no ServiceAccount nobody"),
    "claim": (lambda d: d.remove(next(of(d, "PersistentVolumeClaim"))), "there is no PersistentVolumeClaim shared"),
    "token": (lambda d: spec(d, "mlflow").update(serviceAccountName="scheduler"), "mlflow has a token of the cluster's"),
    "rights": (lambda d: next(of(d, "Role"))["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}), "may too much"),
    "open": (lambda d: d.remove(next(each for each in d if each["metadata"]["name"] == "nothing-else")), "what is not allowed is not denied"),
    "values": (lambda d: d.append({"kind": "Secret", "metadata": {"name": "mine"}, "data": {}}), "Secret mine has values"),
    "settings": (lambda d: next(of(d, "ConfigMap"))["data"].update(URL="postgresql://a:b@c/d"), "URL looks like a secret"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, kubectl: Path) -> None:
    plant, words = PLANTED[name]
    documents = built(kubectl, "one-node")
    plant(documents)
    assert [fault for fault in faults(documents) if words in fault] != []


def test_a_tasks_pod_is_of_the_schedulers_image(documents: list[Document]) -> None:
    container = spec(documents, "airflow-scheduler")["containers"][0]
    told = {each["name"].rpartition("__")[2]: each.get("value") for each in container["env"]}
    assert f"{told['WORKER_CONTAINER_REPOSITORY']}:{told['WORKER_CONTAINER_TAG']}" == container["image"]


def test_each_secret_is_made_by_the_script(documents: list[Document]) -> None:
    mounted = {volume["secret"]["secretName"] for pod in pods(documents).values() for volume in pod["spec"]["volumes"] if "secret" in volume}
    assert {"secrets-task", "secrets-platform"} <= mounted
    script = (KUBERNETES / "secrets.sh").read_text()
    made = {f"secrets-{name}" for name in script[script.index("share/{") + 7 : script.index("}\n", script.index("share/{"))].split(",")} | {"secrets-platform"}
    assert mounted <= made
    assert {name.removeprefix("secrets-") for name in made} - {"platform"} <= set(SHARES)


def test_a_task_has_nothing_of_airflows_own() -> None:
    assert [name for name in SHARES["task"] if name.startswith("airflow_") or name == "postgres_airflow"] == ["airflow_admin"]


def test_serving_is_updated_one_replica_at_a_time_and_answers_until_it_goes(documents: list[Document]) -> None:
    (serving,) = [each["spec"] for each in of(documents, "StatefulSet") if each["metadata"]["name"] == "serving"]
    scaled = [each["spec"]["minReplicas"] for each in of(documents, "HorizontalPodAutoscaler")]
    # one of the two says how many there are, and that is more than one
    assert (scaled or [serving["replicas"]])[0] >= 2
    assert ("replicas" in serving) != bool(scaled)
    assert serving.get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    pod = serving["template"]["spec"]
    assert "preStop" in pod["containers"][0]["lifecycle"]
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert {"name": "log", "mountPath": "/state/serving"} in pod["containers"][0]["volumeMounts"]
    (budget,) = of(documents, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
