"""The embedded stack on one machine: started, watched and stopped through its process manager."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import httpx
import psutil
import psycopg
from psycopg import sql

from flightdeck import orphans, secrets, site
from flightdeck.launch import BIN, airflow_environment, common, mlflow_environment
from flightdeck.settings import DATABASES, ROOT, settings

# What one sees of the stack, and the process that stands behind each.
SERVICES = {
    "postgres": ["postgres"],
    "airflow": ["airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"],
    "mlflow": ["mlflow"],
    "serving": ["serving"],
    "reports": ["reports"],
    "world": ["world"],
}
HEALTH = {"airflow": "/api/v2/monitor/health", "mlflow": "/health", "serving": "/health", "reports": "/health", "world": "/health"}
Progress = Callable[[str], None]
# {name: (command, environment of its own)}
Tasks = dict[str, tuple[list[str], dict[str, str]]]


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message names the service, the cause and the log to open."""


def manager() -> Any:
    """The process manager's control interface, over its Unix socket."""
    from supervisor.xmlrpc import SupervisorTransport

    return ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{settings().home}/run/supervisor.sock")).supervisor


def running() -> bool:
    try:
        return bool(manager().getState()["statename"] == "RUNNING")
    except OSError:
        return False


def healthy(service: str) -> bool:
    """Whether the service does its work now: PostgreSQL answers a query, an HTTP service its health route, Airflow all four parts."""
    if service == "postgres":
        try:
            psycopg.connect(settings().database_url("flightdeck"), connect_timeout=2).close()
            return True
        except psycopg.OperationalError:
            return False
    try:
        answer = httpx.get(settings().url(service) + HEALTH[service], timeout=5)
        parts = answer.json().values() if service == "airflow" else []
        return answer.is_success and all(part["status"] in ("healthy", None) for part in parts)
    except (httpx.HTTPError, ValueError):
        return False


def up(progress: Progress) -> None:
    """Start what is not running and wait until all of it is healthy. Safe to repeat. Where something else starts the services, only wait."""
    if settings().manager == "none":
        wait(SERVICES, 240, progress)
        return
    make_folders()
    # PostgreSQL may run as another user, who must be able to pass through
    settings().home.chmod(0o711)
    secrets.ensure()
    start_manager()
    progress("starting PostgreSQL")
    start(["postgres"])
    wait(["postgres"], 60)
    migrate(progress)
    progress("starting Airflow, MLflow, serving, reports and the world")
    start(name for names in SERVICES.values() for name in names)
    wait(SERVICES, 240, progress)


def make_folders() -> None:
    home = settings().home
    for folder in (home, home / "run", home / "logs", home / "reports", home / "work"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def migrate(progress: Progress) -> None:
    """All that must be there before the other services start: databases, roles, tables, buckets, the site's first pages. May run again."""
    make_folders()
    make_databases()
    make_buckets()
    site.write()
    try:
        _migrate(progress)
    finally:
        # a view that dbt has made anew is readable for all readers until then
        with psycopg.connect(settings().database_url("worker"), autocommit=True) as connection:
            connection.execute("select ops.let_read()")


def start_manager() -> None:
    """Start the process manager, with every service still stopped, where it does not run yet."""
    if not running():
        # a killed manager leaves its services behind, on the ports that the new ones need
        orphans.end()
        subprocess.run([BIN / "supervisord", "-c", ROOT / "infra/supervisord.conf"], env=os.environ | common(), check=True)


def start(names: Iterable[str]) -> None:
    for name in names:
        try:
            manager().startProcess(name, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} does not start: {fault.faultString}; its log: {settings().logs / name}.log") from None


def wait(services: Iterable[str], seconds: float, progress: Progress = lambda _: None) -> None:
    """Until each of `services` is healthy; raises StackError as soon as one has given up, or when time is over."""
    waiting, deadline = list(services), time.monotonic() + seconds
    while waiting := [service for service in waiting if not healthy(service)]:
        raise_given_up(waiting)
        if time.monotonic() > deadline:
            raise StackError(f"not healthy after {seconds:.0f} s: {', '.join(waiting)}; the logs: {settings().logs}")
        progress(f"waiting for {', '.join(waiting)}")
        time.sleep(0.5)


def raise_given_up(services: Iterable[str] = SERVICES) -> None:
    """Raise StackError when the process manager has stopped trying to start a process of one of `services`."""
    if settings().manager == "none":
        return
    states = {process["name"]: process["statename"] for process in manager().getAllProcessInfo()}
    for process in (process for service in services for process in SERVICES[service]):
        if states[process] == "FATAL":
            raise StackError(f"{process} gave up after several starts; its log: {settings().logs / process}.log")


def side_by_side(what: str, tasks: Tasks) -> None:
    """Run the tasks in processes of their own, at once, since each mostly imports; a log for each, `what-name.log`."""
    started = {}
    for name, (command, environment) in tasks.items():
        path = settings().logs / f"{what}-{name}.log"
        with path.open("w") as log:
            started[path] = subprocess.Popen(command, env=os.environ | common() | environment, cwd=ROOT, stdout=log, stderr=log)
    # all are waited for before one is complained of: none is left running
    if failed := [str(path) for path, process in started.items() if process.wait() != 0]:
        raise StackError(f"could not {what}; the log: {', '.join(failed)}")


def down() -> list[str]:
    """Stop everything, and end what outlived its service; returns the names of the services that were running. Data stay."""
    if settings().manager == "none":
        raise StackError("what started the services must stop them: FLIGHTDECK_MANAGER is none")
    names = []
    if running():
        supervisor = manager()
        process = psutil.Process(supervisor.getPID())
        names = [entry["name"] for entry in supervisor.getAllProcessInfo() if entry["statename"] in ("RUNNING", "STARTING")]
        # in reverse order of priority: PostgreSQL last, so that each tool can still write its end
        supervisor.shutdown()
        psutil.wait_procs([process], timeout=90)
    orphans.end()
    return names


def make_databases() -> None:
    """Roles, databases and the warehouse's own tables; may run again."""
    s = settings()
    with psycopg.connect(s.database_url("flightdeck"), autocommit=True) as connection:
        roles = {row[0] for row in connection.execute("select rolname from pg_roles")}
        for role in DATABASES:
            # a secret that was made anew is the password from now on
            verb = "alter" if role in roles else "create"
            connection.execute(f"{verb} role {role} login password '{s.secret(f'postgres_{role}')}'".encode())
        databases = {row[0] for row in connection.execute("select datname from pg_database")}
        for database, owner in {"airflow": "airflow", "mlflow": "mlflow", "warehouse": "worker", "source": "world", "vault": "privacy"}.items():
            if database not in databases:
                connection.execute(f"create database {database} owner {owner}".encode())
                connection.execute(f"revoke all on database {database} from public".encode())
        connection.execute("grant pg_monitor to monitor")
        connection.execute("grant connect on database warehouse to serving, reader, receiver, privacy")
        connection.execute("grant connect on database vault to serving, worker")
        connection.execute("grant connect on database source to source_reader")
    with psycopg.connect(s.database_url("flightdeck", database="warehouse"), autocommit=True) as connection:
        connection.execute((ROOT / "infra/postgres/warehouse.sql").read_bytes())
        # whoever connects knows in which zone partitions begin and end
        connection.execute(sql.SQL("alter database warehouse set flightdeck.timezone = {}").format(sql.Literal(s.timezone)))
    with psycopg.connect(s.database_url("flightdeck", database="vault"), autocommit=True) as connection:
        connection.execute((ROOT / "infra/postgres/vault.sql").read_bytes())
    with psycopg.connect(s.database_url("worker"), autocommit=True) as connection:
        connection.execute((ROOT / "ingestion/tables.sql").read_bytes())


def make_buckets() -> None:
    """The buckets of an object store, where it holds a place of ours and lets us make them; a folder needs nothing."""
    from pyarrow import fs

    places = {place for place in (settings().lake, settings().artifacts, settings().dvc_remote) if place.startswith("s3://")}
    for place in sorted(places):
        store, path = fs.FileSystem.from_uri(place + ("&" if "?" in place else "?") + "allow_bucket_creation=true")
        bucket = path.partition("/")[0]
        if store.get_file_info(bucket).type == fs.FileType.NotFound:
            store.create_dir(bucket)


def _migrate(progress: Progress) -> None:
    """The tools' own tables, once for each version of the environment."""
    stamp, version = settings().home / "run/migrated", (ROOT / "requirements.lock").read_bytes()
    if stamp.exists() and stamp.read_bytes() == version:
        return
    progress("making the tables of Airflow and MLflow, reading the dbt project")
    side_by_side("migrate", migrations())
    stamp.write_bytes(version)


def migrations() -> Tasks:
    return {
        "airflow": ([str(BIN / "airflow"), "db", "migrate"], airflow_environment()),
        "mlflow": ([str(BIN / "mlflow"), "db", "upgrade", settings().database_url("mlflow", "+psycopg2")], mlflow_environment()),
        "dbt": ([sys.executable, "-m", "flightdeck.transform"], {}),
    }
