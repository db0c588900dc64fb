"""The overlay with workers: a month on two of them, one killed in mid-task; and the broker, which nobody else reaches."""

import random
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.compose.conftest import ROOT, Compose


@pytest.fixture(scope="module")
def project() -> Iterator[Compose]:
    own = Compose(f"fd-celery-{random.randrange(10**6)}", "infra/compose/celery.yml")
    own.environment |= {"COMPOSE_PROFILES": "", "AIRFLOW_METRICS": "False"}
    own("build", timeout=1800)
    try:
        own("up", "--detach", "--wait")
        yield own
    finally:
        own("down", "--volumes", "--timeout", "20")


def python(project: Compose, service: str, script: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "compose", *project.options, "exec", "-T", service, "python", "-c", script]
    return subprocess.run(command, cwd=ROOT, env=project.environment, capture_output=True, text=True, timeout=60)


def test_a_month_comes_through_although_a_worker_is_lost(project: Compose) -> None:
    replay = project.started("run", "--rm", "--no-deps", "flightdeck", "replay", "2013-01")
    deadline = time.monotonic() + 300
    query = "select count(*) from ops.ledger l where state = 'started' and stage in ('ingest', 'transform')"
    while int(project("exec", "-T", "postgres", "psql", "-U", "flightdeck", "-d", "warehouse", "-p", "5442", "-Atc", query)) == 0:
        assert time.monotonic() < deadline
        time.sleep(1)
    workers = [each for each in project.containers() if each["Config"]["Labels"]["com.docker.compose.service"] == "airflow-worker"]
    assert len(workers) == 2
    # both may hold tasks; the first one dies as a whole
    subprocess.run(["docker", "exec", workers[0]["Id"], "sh", "-c", "kill -9 -1"], capture_output=True)
    output, _ = replay.communicate(timeout=900)
    assert replay.returncode == 0, output
    (row,) = project.status()["partitions"]
    assert (row["key"], row["landed"], row["raw"], row["features"], row["decision"]) == ("2013-01", 27004, 27004, 27004, "promoted")
    query = "select hostname from task_instance where state = 'success' and dag_id <> 'canary' and hostname <> ''"
    hosts = set(project("exec", "-T", "postgres", "psql", "-U", "flightdeck", "-d", "airflow", "-p", "5442", "-Atc", query).split())
    assert {each["Config"]["Hostname"] for each in workers} <= hosts
    assert [each["RestartCount"] > 0 for each in project.containers() if each["Id"] == workers[0]["Id"]] == [True]


def test_nobody_outside_its_network_reaches_the_broker(project: Compose) -> None:
    forged = "import socket; s = socket.create_connection(('{0}', 6379), 5); s.sendall(b'PING\\r\\n'); print(s.recv(100))"
    for service in ("serving", "mlflow", "world"):
        assert "gaierror" in python(project, service, forged.format("broker")).stderr, service
    (broker,) = [each for each in project.containers() if each["Config"]["Labels"]["com.docker.compose.service"] == "broker"]
    assert broker["HostConfig"]["PortBindings"] in ({}, None)
    (network,) = broker["NetworkSettings"]["Networks"].values()
    by_address = python(project, "serving", forged.format(network["IPAddress"]))
    assert by_address.returncode != 0
    assert "timed out" in by_address.stderr or "unreachable" in by_address.stderr


def test_the_broker_asks_for_its_password(project: Compose) -> None:
    asked = "import socket; s = socket.create_connection(('broker', 6379), 5); s.sendall(b'LPUSH default x\\r\\n'); print(s.recv(100))"
    assert "NOAUTH" in python(project, "airflow-worker", asked).stdout
