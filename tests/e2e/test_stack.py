"""What the running stack shows to the outside: who may sign in, where it listens, what dies and comes back."""

import time
from collections.abc import Callable

import httpx
import psutil
import psycopg
import pytest

from flightdeck import stack
from flightdeck.airflow_api import Airflow
from flightdeck.settings import settings


def test_everything_listens_on_loopback_only(platform: None) -> None:
    own = {process.pid for process in psutil.Process(stack.manager().getPID()).children(recursive=True)}
    sockets = [entry for entry in psutil.net_connections("inet") if entry.status == psutil.CONN_LISTEN and entry.pid in own]
    assert len({entry.laddr.port for entry in sockets}) >= 6
    assert {entry.laddr.ip for entry in sockets} == {"127.0.0.1"}


@pytest.mark.parametrize(("service", "path"), [("airflow", "/api/v2/dags"), ("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1")])
def test_airflow_and_mlflow_ask_who_it_is(platform: None, service: str, path: str) -> None:
    assert httpx.get(settings().url(service) + path).status_code == 401
    assert httpx.get(settings().url(service) + path, auth=("admin", "admin")).status_code == 401


def test_mlflow_s_url_works_as_it_is(platform: None) -> None:
    assert httpx.get(settings().public_url("mlflow", "admin") + "/api/2.0/mlflow/experiments/search?max_results=1").is_success


def test_reader_may_look_and_no_more(platform: None) -> None:
    with psycopg.connect(settings().database_url("reader"), autocommit=True) as connection:
        assert connection.execute("select count(*) from ops.ledger").fetchone() is not None
        for statement in ("insert into raw.airlines values ('XX', 'x', 'x')", "create table marts.mine (x int)", "update ops.predictions set purpose = 'live'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_service_s_role_may_not_change_the_past(platform: None) -> None:
    with psycopg.connect(settings().database_url("serving"), autocommit=True) as connection:
        for statement in ("delete from ops.predictions", "insert into ops.deployments (partition_key) values ('2013-01')", "select * from quarantine.rows"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_airflow_s_navigation_leads_to_the_other_pages(platform: None) -> None:
    views = [view for plugin in Airflow()._call("GET", "/api/v2/plugins")["plugins"] for view in plugin["external_views"]]
    assert {view["name"] for view in views} >= {"MLflow", "Data Docs", "Drift reports", "dbt docs", "Serving API"}
    for view in views:
        assert httpx.get(view["href"], auth=("admin", settings().secret("mlflow_admin"))).is_success, view


def test_a_partition_key_that_is_no_month_is_refused_at_the_edge(platform: None) -> None:
    client = Airflow()
    for key in ("banana", "2013-13", ""):
        answer = client._client.post("/api/v2/dags/ingest/dagRuns", json={"logical_date": None, "partition_key": key})
        assert answer.status_code in (400, 422), (key, answer.text)


def until(holds: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.2)


def children(service: str) -> list[psutil.Process]:
    pid = stack.manager().getProcessInfo(service)["pid"]
    return psutil.Process(pid).children(recursive=True) if psutil.pid_exists(pid) else []


def test_what_dies_is_started_again_and_leaves_no_worker_behind(platform: None) -> None:
    """The scheduler's workers and the servers' are of process groups and sessions of their own."""
    for service, name in (("airflow", "airflow-scheduler"), ("serving", "serving"), ("mlflow", "mlflow")):
        killed, workers = stack.manager().getProcessInfo(name)["pid"], children(name)
        assert workers, name
        psutil.Process(killed).kill()
        until(lambda workers=workers: not any(worker.is_running() for worker in workers))
        until(lambda name=name: len(children(name)) > 0)
        stack.wait([service], 90)
        assert stack.manager().getProcessInfo(name)["pid"] != killed


def test_a_killed_manager_is_replaced_and_its_services_with_it(platform: None) -> None:
    services = psutil.Process(stack.manager().getPID()).children(recursive=True)
    psutil.Process(stack.manager().getPID()).kill()
    until(lambda: not stack.running())
    stack.up(lambda _: None)
    assert not any(process.is_running() for process in services)
