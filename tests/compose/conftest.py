"""The real compose file, in a project of its own, on ports of its own; its volumes are gone at the end. Needs a container engine."""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandbox import free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
PORTS = ["AIRFLOW", "MLFLOW", "SERVING", "REPORTS", "POSTGRES", "PROMETHEUS", "ALERTMANAGER"]


class Compose:
    """`docker compose` on one project."""

    def __init__(self, project: str, *files: str) -> None:
        self.ports = dict(zip(PORTS, free_ports(), strict=False))
        self.environment = os.environ | {f"PORT_{name}": str(port) for name, port in self.ports.items()} | {"COMPOSE_PROJECT_NAME": project}
        self.options = [part for file in ("docker-compose.yml", *files) for part in ("-f", file)]

    def __call__(self, *arguments: str, timeout: float = 900) -> str:
        """The command's output; raises CalledProcessError, with what it complained of, when it fails."""
        command = ["docker", "compose", *self.options, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            ended = [each["Id"] for each in self.containers() if each["State"]["ExitCode"]] if arguments[0] == "up" else []
            logs = "".join(subprocess.run(["docker", "logs", "--tail", "20", each], capture_output=True, text=True).stderr for each in ended)
            raise AssertionError(f"{' '.join(arguments)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{logs}")
        return done.stdout

    def started(self, *arguments: str) -> "subprocess.Popen[str]":
        command = ["docker", "compose", *self.options, *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def containers(self) -> list[dict[str, Any]]:
        """What the engine says of each container."""
        found = self("ps", "--all", "--quiet").split()
        read: list[dict[str, Any]] = json.loads(subprocess.run(["docker", "inspect", *found], check=True, capture_output=True, text=True).stdout)
        return read

    def secret(self, name: str) -> str:
        return self("run", "--rm", "--no-deps", "--entrypoint", "cat", "flightdeck", f"/state/secrets/{name}").strip()

    def status(self) -> dict[str, Any]:
        """`flightdeck status --json`."""
        read: dict[str, Any] = json.loads(self("run", "--rm", "--no-deps", "flightdeck", "status", "--json"))
        return read

    def models(self) -> dict[str, str]:
        """{partition: sha256 of the model that was trained for it}."""
        query = "select partition_key || ' ' || (outputs -> 'release' ->> 'sha256') from ops.ledger where stage = 'train' and state = 'done' order by id"
        rows = self("exec", "-T", "postgres", "psql", "-U", "flightdeck", "-d", "warehouse", "-p", "5442", "-Atc", query)
        return dict(row.split(" ") for row in rows.splitlines() if row)

    def address(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service.upper()]}"

    def healthy(self, seconds: float = 240) -> None:
        self("up", "--detach", "--wait", "--no-recreate", timeout=seconds)


@pytest.fixture(scope="session")
def compose() -> Iterator[Compose]:
    """All services are built and healthy."""
    project = Compose(f"fd-test-{random.randrange(10**6)}")
    project("build", timeout=1800)
    begun = time.monotonic()
    try:
        project("up", "--detach", "--wait")
        project.seconds_to_healthy = time.monotonic() - begun  # type: ignore[attr-defined]
        yield project
    finally:
        project("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="session")
def token(compose: Compose) -> str:
    return compose.secret("token")


@pytest.fixture
def ask(compose: Compose, token: str) -> Callable[[str], Any]:
    """Prometheus' answer to a query."""

    def ask(query: str) -> Any:
        answer = httpx.get(compose.address("prometheus") + "/api/v1/query", params={"query": query}, auth=("admin", token), timeout=20)
        answer.raise_for_status()
        return answer.json()["data"]["result"]

    return ask
