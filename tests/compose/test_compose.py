"""The containers: the loop gives the table and the models of the embedded stack, also when containers are killed; nobody gets in without a password."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from tests.compose.conftest import ROOT, Compose

MONTHS = "2013-01..2013-02"
# what one month's row of the table says, apart from how long it took
CELLS = [
    "key", "landed", "raw", "quarantined", "features", "published", "champion", "challenger", "champion_log_loss", "challenger_log_loss", "auc", "decision",
    "reasons", "drift_share", "retrain",
]  # fmt: skip
ONE_SHOT = {"secrets", "migrate"}
# each is killed once while a month is on its way
KILLED = [
    "airflow-scheduler", "postgres", "objects", "airflow-api-server", "mlflow", "serving", "edge", "airflow-triggerer", "airflow-dag-processor", "world",
    "reports",
]  # fmt: skip


def service(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_all_are_healthy_within_two_minutes(compose: Compose) -> None:
    seconds = compose.seconds_to_healthy  # type: ignore[attr-defined]
    states = {service(each): each["State"].get("Health", {}).get("Status", each["State"]["Status"]) for each in compose.containers()}
    assert {name for name, state in states.items() if state != "healthy"} == ONE_SHOT
    assert {each["State"]["ExitCode"] for each in compose.containers() if service(each) in ONE_SHOT} == {0}
    # with room for a machine that does something else, too
    assert seconds < 180


def test_containers_may_do_little(compose: Compose) -> None:
    found = compose.containers()
    assert len(found) >= 17
    for each in found:
        host, name = each["HostConfig"], service(each)
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert name == "postgres" or not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["Memory"] > 0 or name in ONE_SHOT, name
        assert not [mount for mount in each["Mounts"] if "docker.sock" in mount["Source"]], name
        for bindings in (host["PortBindings"] or {}).values():
            assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"], name
        own = name not in {"postgres", "objects", "prometheus", "alertmanager"}
        assert not own or each["Config"]["User"] == "10001", name


def test_a_container_sees_its_own_secrets_only(compose: Compose) -> None:
    seen = {name: set(compose("exec", "-T", name, "ls", "/state/secrets").split()) for name in ("serving", "mlflow", "reports", "world", "edge")}
    assert seen == {
        "serving": {"postgres_serving", "mlflow_admin", "subjects", "token"},
        "mlflow": {"postgres_mlflow", "mlflow_admin", "mlflow_session", "aws_credentials"},
        "reports": {"postgres_reader", "postgres_receiver", "token"},
        "world": {"postgres_world"},
        "edge": {"token", "postgres_monitor"},
    }
    everything = {json.dumps(each["Config"]["Env"]) + json.dumps(each["Args"]) for each in compose.containers()}
    for name in ("token", "postgres_flightdeck", "airflow_admin", "s3_secret"):
        assert not [text for text in everything if compose.secret(name) in text], name


@pytest.mark.parametrize(
    ("port", "path", "method"),
    [
        ("airflow", "/api/v2/dags", "GET"),
        ("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1", "GET"),
        ("serving", "/predict", "POST"),
        ("serving", "/metrics", "GET"),
        ("reports", "/index.html", "GET"),
        ("reports", "/metrics", "GET"),
        ("prometheus", "/api/v1/query?query=up", "GET"),
        ("alertmanager", "/api/v2/alerts", "GET"),
    ],
)
def test_nobody_without_the_password_gets_in(compose: Compose, port: str, path: str, method: str) -> None:
    url = compose.address(port) + path
    assert httpx.request(method, url).status_code == 401
    assert httpx.request(method, url, auth=("admin", "admin")).status_code == 401
    # MLflow looks for a name and a password in it, and fails before it has let anybody in
    refusals = {401, 403} | ({500} if port == "mlflow" else set())
    assert httpx.request(method, url, headers={"Authorization": "Bearer wrong"}).status_code in refusals


def test_who_has_the_password_gets_in(compose: Compose, token: str) -> None:
    for port, path in {"reports": "/index.html", "prometheus": "/-/ready", "alertmanager": "/-/ready", "serving": "/metrics"}.items():
        assert httpx.get(compose.address(port) + path, auth=("admin", token)).status_code == 200, port
    assert httpx.get(compose.address("serving") + "/ready").status_code == 200


def test_postgresql_asks_for_a_password(compose: Compose) -> None:
    place = {"host": "127.0.0.1", "port": compose.ports["POSTGRES"], "connect_timeout": 5}
    for user, password in (("flightdeck", ""), ("flightdeck", "flightdeck"), ("postgres", "postgres"), ("reader", "reader")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(user=user, password=password, dbname="warehouse", **place).close()
    url = compose("run", "--rm", "--no-deps", "flightdeck", "url", "warehouse").strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from ops.canary").fetchone() == (1,)


def killed(compose: Compose, name: str) -> None:
    """Kill -9 all that runs in one container of the service, as its own user may; it ends, and the engine starts it again."""
    subprocess.run(
        ["docker", "compose", *compose.options, "exec", "-T", *(["--user", "postgres"] if name == "postgres" else []), name, "sh", "-c", "kill -9 -1"],
        cwd=ROOT, env=compose.environment, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def replayed(compose: Compose) -> dict[str, Any]:
    """Two months are through, again and again, until each container was killed in the middle; returns what `status` says then."""
    left = list(KILLED)
    while left:
        replay = compose.started("run", "--rm", "--no-deps", "flightdeck", "replay", MONTHS)
        time.sleep(20)
        while left and replay.poll() is None:
            killed(compose, left.pop(0))
            # one at a time: an outage of everything for minutes is another promise
            compose.healthy()
        output, _ = replay.communicate(timeout=1500)
        assert replay.returncode == 0, output
    compose.healthy()
    # each was really gone, and came back by itself
    restarted = {service(each) for each in compose.containers() if each["RestartCount"]}
    assert set(KILLED) <= restarted
    return compose.status()


def test_the_loop_gives_the_embedded_stack_s_table_and_models(replayed: dict[str, Any], compose: Compose, platform: None) -> None:
    """The embedded stack of this test run goes through the same months, in one piece."""
    from flightdeck import ledger, replay, status
    from flightdeck.partitions import span

    replay.replay(span(MONTHS), lambda *_: None, lambda *_: None)
    rows = [[row[cell] for cell in CELLS] for row in status.partitions()]
    assert [[row[cell] for cell in CELLS] for row in replayed["partitions"]] == rows
    trained = {key: row for key in span(MONTHS) if (row := ledger.last("train", key))}
    models = {key: row["outputs"]["release"]["sha256"] for key, row in trained.items()}
    assert len(models) == 2
    assert compose.models() == models


def test_objects_are_in_the_store(replayed: dict[str, Any], compose: Compose) -> None:
    script = """
from pyarrow import fs
from flightdeck.settings import settings
for place in (settings().lake, settings().artifacts, settings().dvc_remote):
    store, path = fs.FileSystem.from_uri(place)
    print(place, len(store.get_file_info(fs.FileSelector(path, recursive=True))))
"""
    counted = dict(line.split() for line in compose("exec", "-T", "airflow-scheduler", "python", "-c", script).splitlines())
    assert set(counted) == {"s3://lake/marts", "s3://mlflow/artifacts", "s3://dvc/remote"}
    assert min(map(int, counted.values())) > 5, counted


def test_log_lines_say_what_they_belong_to(replayed: dict[str, Any], compose: Compose) -> None:
    lines = compose("exec", "-T", "airflow-scheduler", "sh", "-c", "cat /state/logs/airflow/dag_id=transform/*/task_id=build/*.log").splitlines()
    found = [entry for line in lines for entry in [json.loads(line)] if entry.get("partition") == "2013-02"]
    assert found
    assert {"stage", "run_id", "attempt", "release"} <= set(found[-1])
    # the engine may put a control sequence before a line
    served = [json.loads(line[line.index("{") :]) for line in compose("logs", "--no-log-prefix", "--no-color", "serving").splitlines() if '"release"' in line]
    assert {line["release"] for line in served if "serves" in line["event"]} == {1, 2}


def test_replicas_agree_and_answers_name_their_version(replayed: dict[str, Any], compose: Compose, token: str) -> None:
    flight = {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2013-03-01T05:15:00", "distance": 1400}
    with httpx.Client(base_url=compose.address("serving"), headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
        answers = [client.post("/predict", json={"instances": [flight]}).json() for _ in range(20)]
    assert {(answer["model_version"], answer["predictions"][0]["probability"]) for answer in answers} == {(2, answers[0]["predictions"][0]["probability"])}


def test_a_replica_that_is_killed_costs_no_answer(replayed: dict[str, Any], compose: Compose, token: str) -> None:
    flight = {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2013-03-01T05:15:00", "distance": 1400}
    statuses = []
    with httpx.Client(base_url=compose.address("serving"), headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
        for number in range(200):
            if number == 50:
                killed(compose, "serving")
            statuses.append(client.post("/predict", json={"instances": [flight]}).status_code)
            time.sleep(0.05)
    assert set(statuses) == {200}
    compose.healthy()


def test_what_prometheus_should_see_it_sees(replayed: dict[str, Any], ask: Callable[[str], Any]) -> None:
    deadline = time.monotonic() + 120
    while down := [each["metric"] for each in ask("up == 0")]:
        assert time.monotonic() < deadline, down
        time.sleep(5)
    jobs = {each["metric"]["job"] for each in ask("up == 1")}
    assert jobs == {"warehouse", "airflow", "serving", "edge", "world", "postgres", "objects", "prometheus", "alertmanager"}


@pytest.mark.parametrize("path", sorted((ROOT / "monitoring/dashboards").glob("*.json")), ids=lambda path: path.stem)
def test_each_panel_has_something_to_show(replayed: dict[str, Any], ask: Callable[[str], Any], path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    assert len(panels) > 5
    assert [panel["title"] for panel in panels if not any(ask(target["expr"]) for target in panel["targets"])] == []


def test_each_alert_asks_for_metrics_that_exist(replayed: dict[str, Any], ask: Callable[[str], Any]) -> None:
    rules = yaml.safe_load((ROOT / "monitoring/prometheus/rules/platform.yml").read_text())
    expressions = [re.sub(r"\bby \([^)]*\)", "", rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    names = {name for expression in expressions for name in re.findall(r"\b(?:[a-z]+_[a-z_]+|up)\b(?=[{ \[)]|$)", expression)}
    names -= {"histogram_quantile"}
    assert "flightdeck_quarantined_rows" in names
    assert [name for name in sorted(names) if not ask(f"count({name})")] == []


def test_the_rules_pass_their_unit_tests(compose: Compose) -> None:
    assert "SUCCESS" in compose("exec", "-T", "prometheus", "promtool", "test", "rules", "/etc/prometheus/tests/platform.yml")
    compose("exec", "-T", "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    compose("exec", "-T", "alertmanager", "amtool", "check-config", "/etc/alertmanager/alertmanager.yml")


def test_the_serving_image_is_slim(compose: Compose) -> None:
    script = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    listed = compose("exec", "-T", "serving", "python", "-c", script).split()
    assert "bentoml" in listed
    assert not {name for name in listed if name.startswith(("apache-airflow", "dbt", "great", "mlflow", "dvc", "evidently"))}


def test_an_alert_comes_by_alertmanager_to_the_page(replayed: dict[str, Any], compose: Compose, token: str) -> None:
    alert = [{"labels": {"alertname": "MadeUp", "severity": "warning"}, "annotations": {"summary": "somebody tries the way of an alert"}}]
    httpx.post(compose.address("alertmanager") + "/api/v2/alerts", json=alert, auth=("admin", token)).raise_for_status()
    deadline = time.monotonic() + 120
    while "somebody tries the way of an alert" not in httpx.get(compose.address("reports") + "/alerts/", auth=("admin", token)).text:
        assert time.monotonic() < deadline, "the page does not have it"
        time.sleep(2)


def test_a_person_is_traced_and_erased_in_containers_too(replayed: dict[str, Any], compose: Compose, token: str) -> None:
    flight = {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2013-03-01T05:15:00", "distance": 1400}
    asked = {"instances": [flight], "subject": "canary.kim@example.org"}
    answer = httpx.post(compose.address("serving") + "/predict", json=asked, headers={"Authorization": f"Bearer {token}"}, timeout=20).json()
    time.sleep(2)
    run = ("run", "--rm", "--no-deps", "-T", "flightdeck")
    traced = json.loads(compose(*run, "trace", answer["predictions"][0]["prediction_id"], "--json"))
    assert traced["model"]["model_version"] == 2
    assert traced["snapshot"]["missing"] == []
    assert json.loads(compose(*run, "export", "canary.kim@example.org"))["predictions"][0]["entity_id"] == "2013-03-01T10:00:00Z/UA/1545"
    done = json.loads(compose(*run, "erase", "canary.kim@example.org", "--json"))
    assert (done["stores"]["who asked"]["did"], done["stores"]["vault"]["found"]) == ("deleted", 1)
    assert json.loads(compose(*run, "erase", "--verify", "canary.kim@example.org", "--json")) == {}
    # every edge is walked over the object store, too
    assert "no orphans" in compose(*run, "trace", "--check")
    # an image has no git: what is built again is of its own code
    assert json.loads(compose(*run, "reproduce", "2", "--json"))["same"]
