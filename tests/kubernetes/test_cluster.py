"""The platform on a real cluster, the one that KUBECONFIG names: a month through pods, one of them killed; a rolling update under load; no room.

The images flightdeck/kubernetes and flightdeck/serving, of the tag `latest`, must be on its nodes: `make kubernetes-test` builds them with this machine's
engine, and a cluster with another one must be given them. Everything is in a namespace of its own, which is
deleted at the end. A server older than the manifests gets the older names of the same kinds.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.manifests import ROOT, Document, built, of

CLAIMS = ["shared", "data-postgres-0", "data-objects-0", "log-serving-0", "log-serving-1"]
# as the only one that may be root: some storage gives a volume to root alone, whatever group a pod asks for
PREPARE = "chmod 0777 /volumes/* && id -u postgres"
# what an older server does not know: a field since which version, an API in whose place
LATER = {"minReadySeconds": 22, "persistentVolumeClaimRetentionPolicy": 23}
OLDER = {("policy/v1", 21): "policy/v1beta1", ("autoscaling/v2", 23): "autoscaling/v2beta2"}
FLIGHT = {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2013-02-01T05:15:00", "distance": 1400}
# asks from inside, on a connection of its own each time, until it is told to stop: ids of the answers, and what was no answer
ASK = """
import http.client, json, pathlib, sys, time
from flightdeck.settings import settings
body, ids, failed, seconds = json.dumps({{"instances": [{flight}]}}), [], [], []
begun = time.monotonic()
while not pathlib.Path("/tmp/enough").exists() and time.monotonic() - begun < {most}:
    asked = time.monotonic()
    try:
        connection = http.client.HTTPConnection(settings().at("serving"), settings().port_serving, timeout=20)
        connection.request("POST", "/predict", body, settings().authorization | {{"Connection": "close"}})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status == 200:
            ids += [one["prediction_id"] for one in json.loads(content)["predictions"]]
        else:
            failed.append(f"{{answer.status}} {{content[:200]}}")
    except OSError as error:
        failed.append(repr(error))
    seconds.append(time.monotonic() - asked)
    time.sleep(0.03)
print(json.dumps({{"ids": ids, "failed": failed, "slowest": max(seconds)}}))
"""


class Cluster:
    """kubectl in one namespace."""

    def __init__(self, kubectl: Path) -> None:
        self.kubectl, self.namespace = str(kubectl), f"fd-test-{random.randrange(10**6)}"

    def command(self, *arguments: str) -> list[str]:
        return [self.kubectl, "--namespace", self.namespace, *arguments]

    def __call__(self, *arguments: str, given: str | None = None, seconds: float = 300) -> str:
        done = subprocess.run(self.command(*arguments), input=given, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)[:300]}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def apply(self, documents: list[Document]) -> None:
        self("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def ready(self, seconds: int = 420) -> None:
        """Until what should run is there, and ready."""
        self("wait", "--for=condition=complete", "job/migrate", f"--timeout={seconds}s", seconds=seconds + 20)
        for name in ("deployment/airflow-api-server", "deployment/airflow-scheduler", "deployment/airflow-dag-processor", "deployment/airflow-triggerer"):
            self("rollout", "status", name, f"--timeout={seconds}s", seconds=seconds + 20)
        for name in ("deployment/mlflow", "deployment/reports", "deployment/world", "deployment/flightdeck", "statefulset/serving"):
            self("rollout", "status", name, f"--timeout={seconds}s", seconds=seconds + 20)

    def sql(self, query: str, database: str = "warehouse") -> list[str]:
        return self("exec", "-i", "postgres-0", "--", "psql", "-U", "flightdeck", "-d", database, "-p", "5442", "-At", given=query).splitlines()

    def flightdeck(self, *arguments: str, seconds: float = 1500) -> str:
        return self("exec", "deployment/flightdeck", "--", "flightdeck", *arguments, seconds=seconds)

    def started(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(self.command("exec", "deployment/flightdeck", "--", *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def status(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.flightdeck("status", "--json"))
        return read

    def tasks(self) -> list[Document]:
        read: list[Document] = json.loads(self("get", "pods", "-l", "kubernetes_executor=True", "-o", "json"))["items"]
        return read


def until(what: str, seconds: float, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(1)
    return value


def for_this(cluster: Cluster, documents: list[Document], postgres: int) -> list[Document]:
    """In the test's namespace, and in the words of the server's version."""
    minor = int(json.loads(cluster("version", "-o", "json"))["serverVersion"]["minor"].rstrip("+"))
    for each in documents:
        for place in (each["metadata"], *each.get("subjects", [])):
            place["namespace"] = cluster.namespace
        for (api, since), older in OLDER.items():
            if each["apiVersion"] == api and minor < since:
                each["apiVersion"] = older
        for name in (name for name, since in LATER.items() if minor < since):
            each.get("spec", {}).pop(name, None)
        if each["kind"] == "StatefulSet" and each["metadata"]["name"] == "postgres":
            each["spec"]["template"]["spec"]["securityContext"] |= {"runAsUser": postgres, "runAsGroup": postgres, "fsGroup": postgres}
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "flightdeck":
            each["spec"]["replicas"] = 1
    return [each for each in documents if each["kind"] != "Namespace"]


def prepared(cluster: Cluster, documents: list[Document]) -> int:
    """The volumes are there, and may be written; returns the number of the user that the database's image knows."""
    claims = list(of(documents, "PersistentVolumeClaim"))
    for each in of(documents, "StatefulSet"):
        for claim in each["spec"]["volumeClaimTemplates"]:
            for number in range(each["spec"]["replicas"]):
                name = f"{claim['metadata']['name']}-{each['metadata']['name']}-{number}"
                claims.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim["spec"]})
    names = [each["metadata"]["name"] for each in claims]
    assert sorted(names) == sorted(CLAIMS)
    mounts = [{"name": name, "mountPath": f"/volumes/{name}"} for name in names]
    container = {"name": "prepare", "image": "postgres:17", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", PREPARE], "volumeMounts": mounts}
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "prepare"},
        "spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes},
    }
    for each in claims:
        each["metadata"]["namespace"] = cluster.namespace
    cluster.apply([*claims, pod])
    until("the volumes are prepared", 120, lambda: cluster("get", "pod", "prepare", "-o", "jsonpath={.status.phase}") == "Succeeded")
    return int(cluster("logs", "prepare").split()[-1])


@pytest.fixture(scope="module")
def cluster(kubectl: Path) -> Iterator[Cluster]:
    """The platform is up, by overlays/one-node."""
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG must name the cluster that the test may use"
    own = Cluster(kubectl)
    own("create", "namespace", own.namespace)
    try:
        documents = built(kubectl, "one-node")
        postgres = prepared(own, documents)
        environment = os.environ | {"PATH": f"{kubectl.parent}:{os.environ['PATH']}", "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
        subprocess.run(["bash", str(ROOT / "infra/kubernetes/secrets.sh"), own.namespace], check=True, env=environment, capture_output=True)
        own.apply(for_this(own, documents, postgres))
        own.ready()
        yield own
    finally:
        own("delete", "namespace", own.namespace, "--timeout=180s", seconds=200)


@pytest.fixture(scope="module")
def month(cluster: Cluster) -> dict[str, Any]:
    """January is through, although a task's pod was killed in the middle of it; returns the killed task, and what `status` says."""
    replay = cluster.started("flightdeck", "replay", "2013-01")
    working = "select stage from ops.ledger l where state = 'started' and stage in ('ingest', 'transform') and not exists (select from ops.ledger e"
    working += " where e.stage = l.stage and e.attempt = l.attempt and e.partition_key = l.partition_key and e.state in ('published', 'failed'))"
    until("a stage has begun", 420, lambda: cluster.sql(working))

    def at_work() -> list[Document]:
        found = [pod for pod in cluster.tasks() if pod["metadata"]["labels"]["dag_id"] in ("ingest", "transform") and pod["status"]["phase"] == "Running"]
        return [pod["metadata"] for pod in found]

    victims = until("a pod works on it", 60, at_work)
    cluster("delete", "pod", victims[0]["name"], "--grace-period=0", "--force")
    output, _ = replay.communicate(timeout=1500)
    assert replay.returncode == 0, output
    return {"killed": victims[0], "status": cluster.status()}


def test_a_month_comes_through_although_a_pod_is_killed(month: dict[str, Any], cluster: Cluster) -> None:
    (row,) = month["status"]["partitions"]
    assert (row["key"], row["landed"], row["raw"], row["features"], row["decision"]) == ("2013-01", 27004, 27004, 27004, "promoted")
    assert all(service["healthy"] for service in month["status"]["services"].values())
    # the killed task was tried again, and no row is there twice
    notes = month["killed"]["annotations"]
    tries = f"select max(try_number) from task_instance where dag_id = '{notes['dag_id']}' and task_id = '{notes['task_id']}' and run_id = '{notes['run_id']}'"
    assert int(cluster.sql(tries, "airflow")[0]) >= 2
    assert cluster.sql("select count(*) - count(distinct entity_id) from raw.flights") == ["0"]
    assert cluster.sql("select count(*) - count(distinct entity_id) from marts.features") == ["0"]


def test_each_task_was_a_pod_of_its_own_and_none_is_left(month: dict[str, Any], cluster: Cluster) -> None:
    hosts = cluster.sql(
        "select hostname from task_instance where state = 'success' and dag_id in ('ingest', 'transform', 'train') and hostname <> ''", "airflow"
    )
    assert len(hosts) >= 8
    assert len(set(hosts)) == len(hosts)
    until("the pods of ended tasks are gone", 60, lambda: not [pod for pod in cluster.tasks() if pod["status"]["phase"] in ("Succeeded", "Failed")])


def test_a_tasks_log_outlives_its_pod(month: dict[str, Any], cluster: Cluster) -> None:
    script = """
from flightdeck.airflow_api import Airflow
airflow = Airflow()
run = next(each for each in airflow._call("GET", "/api/v2/dags/transform/dagRuns", params={"limit": 20})["dag_runs"] if each["state"] == "success")
print(airflow._call("GET", f"/api/v2/dags/transform/dagRuns/{run['dag_run_id']}/taskInstances/build/logs/1", params={"full_content": True}))
"""
    assert "transform of 2013-01" in cluster("exec", "deployment/flightdeck", "--", "python", "-c", script)


def test_a_pod_sees_its_own_secrets_only_and_not_the_cluster(month: dict[str, Any], cluster: Cluster) -> None:
    seen = set(cluster("exec", "serving-0", "--", "ls", "/state/secrets").split())
    assert seen == {"postgres_serving", "mlflow_admin", "subjects", "token"}
    tokens = cluster("exec", "serving-0", "--", "sh", "-c", "ls /var/run/secrets/kubernetes.io 2>/dev/null || echo none").split()
    assert tokens == ["none"]
    may = {
        (verb, what): subprocess.run(
            cluster.command("auth", "can-i", verb, what, f"--as=system:serviceaccount:{cluster.namespace}:{account}"), capture_output=True, text=True
        ).stdout.strip()
        for account, verb, what in [
            ("scheduler", "create", "pods"),
            ("scheduler", "get", "secrets"),
            ("api-server", "delete", "pods"),
            ("task", "list", "pods"),
        ]
    }
    assert may == {("create", "pods"): "yes", ("get", "secrets"): "no", ("delete", "pods"): "no", ("list", "pods"): "no"}


def test_a_rolling_update_under_load_costs_no_answer_and_no_prediction(month: dict[str, Any], cluster: Cluster) -> None:
    cluster("exec", "deployment/flightdeck", "--", "rm", "-f", "/tmp/enough")
    before = set(cluster("get", "pods", "-l", "app.kubernetes.io/name=serving", "-o", "jsonpath={.items[*].metadata.uid}").split())
    asking = cluster.started("python", "-c", ASK.format(flight=json.dumps(FLIGHT), most=400))
    time.sleep(5)
    cluster("rollout", "restart", "statefulset/serving")
    cluster("rollout", "status", "statefulset/serving", "--timeout=300s", seconds=320)
    time.sleep(5)
    cluster("exec", "deployment/flightdeck", "--", "touch", "/tmp/enough")
    output, _ = asking.communicate(timeout=60)
    told = json.loads(output.splitlines()[-1])
    after = set(cluster("get", "pods", "-l", "app.kubernetes.io/name=serving", "-o", "jsonpath={.items[*].metadata.uid}").split())
    assert len(before | after) == 4
    assert len(told["ids"]) > 200
    assert told["failed"] == []
    sys.stderr.write(f"{len(told['ids'])} answers, the slowest after {told['slowest']:.2f} s\n")
    known(cluster, told["ids"])


def known(cluster: Cluster, ids: list[str]) -> None:
    wanted = ", ".join(f"'{each}'" for each in ids)
    until(
        "each answer is in the log", 60, lambda: cluster.sql(f"select count(*) from ops.predictions where prediction_id::text in ({wanted})") == [str(len(ids))]
    )


def test_a_killed_replica_has_lost_no_answer_that_it_gave(month: dict[str, Any], cluster: Cluster) -> None:
    """Both at once, by force, while their log cannot reach the warehouse: what was answered is on their volumes."""
    cluster("exec", "deployment/flightdeck", "--", "rm", "-f", "/tmp/enough")
    cluster("scale", "statefulset/postgres", "--replicas=0")
    until("the database is gone", 90, lambda: "postgres-0" not in cluster("get", "pods", "-o", "name"))
    told = json.loads(cluster("exec", "deployment/flightdeck", "--", "python", "-c", ASK.format(flight=json.dumps(FLIGHT), most=5)).splitlines()[-1])
    assert told["failed"] == []
    assert len(told["ids"]) > 10
    cluster("delete", "pod", "serving-0", "serving-1", "--grace-period=0", "--force")
    cluster("scale", "statefulset/postgres", "--replicas=1")
    cluster("rollout", "status", "statefulset/postgres", "--timeout=120s")
    cluster("rollout", "status", "statefulset/serving", "--timeout=180s")
    known(cluster, told["ids"])


def scheduler(cluster: Cluster, **settings: str) -> None:
    cluster("set", "env", "deployment/airflow-scheduler", *(f"AIRFLOW__{name}={value}" for name, value in settings.items()))
    cluster("rollout", "status", "deployment/airflow-scheduler", "--timeout=240s")


def fails(cluster: Cluster, why: str) -> str:
    """Sends February, which does not come through; returns what was printed, once the ledger has the reason."""
    output, _ = (replay := cluster.started("flightdeck", "replay", "2013-02")).communicate(timeout=600)
    assert replay.returncode != 0, output
    reasons = "select facts ->> 'error' from ops.ledger where partition_key = '2013-02' and state = 'failed'"
    until(f"the ledger says {why}", 90, lambda: [each for each in cluster.sql(reasons) if why in each])
    assert cluster.sql("select count(*) from ops.published where partition_key = '2013-02'") == ["0"]
    return output


def test_a_cluster_without_room_leaves_the_month_unpublished_says_why_and_a_retry_completes_it(month: dict[str, Any], cluster: Cluster) -> None:
    """First a quota refuses the pods; then no node is large enough, and they wait; then there is room."""
    scheduler(cluster, KUBERNETES_EXECUTOR__TASK_PUBLISH_MAX_RETRIES="2")
    cluster.apply([{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"requests.memory": "1Gi"}}}])
    assert "exceeded quota: full" in fails(cluster, "exceeded quota: full")
    cluster("delete", "resourcequota", "full")

    there = json.loads(cluster("get", "configmap", "task", "-o", "json"))
    template = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "task"}, "data": there["data"]}
    small = template["data"]["task.yaml"]
    template["data"]["task.yaml"] = small.replace("memory: 768Mi", "memory: 900Gi").replace("memory: 4Gi", "memory: 900Gi")
    cluster.apply([template])
    scheduler(cluster, SCHEDULER__TASK_QUEUED_TIMEOUT="15", SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL="5")
    fails(cluster, "Task was in queued state for longer than 15")

    template["data"]["task.yaml"] = small
    cluster.apply([template])
    scheduler(cluster, SCHEDULER__TASK_QUEUED_TIMEOUT="300")
    cluster.flightdeck("replay", "2013-02")
    rows = {row["key"]: row for row in cluster.status()["partitions"]}
    assert (rows["2013-02"]["landed"], rows["2013-02"]["published"]) == (24951, True)
    assert cluster.sql("select count(*) from raw.flights where partition_key = '2013-02'") == ["24951"]
