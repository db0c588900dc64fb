"""One service with two workers, as it runs: they agree on what serves and count together; and what is answered before BentoML's layers asks for the token."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flightdeck import deployments, token
from flightdeck.settings import settings
from flightdeck.warehouse import Connection
from serving.app import Foremost
from serving.workers import await_workers
from tests.sandbox import free_ports
from tests.serving.conftest import Registry, listening, until
from tests.serving.test_app import ASKED


@pytest.fixture
def service(models: Registry, connection: Connection, tmp_path: Path) -> Iterator[str]:
    """Its address, once both workers follow."""
    port = next(free_ports())
    changed = {"SERVING_WORKERS": "2", "PORT_SERVING": str(port), "PORT_MLFLOW": str(models.server_port), "TOKEN": "true"}
    with (tmp_path / "log").open("wb") as log:
        environment = os.environ | {f"FLIGHTDECK_{name}": value for name, value in changed.items()}
        process = subprocess.Popen([sys.executable, "-m", "flightdeck.launch", "serving"], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: len(deployments.workers(connection)) == 2, 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        until(lambda: not deployments.workers(connection), 30)


def test_two_workers_agree_and_count_together(service: str, release: Callable[..., dict[str, Any]], connection: Connection) -> None:
    bearer = {"Authorization": f"Bearer {settings().secret('token')}"}

    def versions(count: int) -> set[int]:
        """Of so many answers, each on a connection of its own."""
        answers = [httpx.post(f"{service}/predict", json={"instances": [ASKED]}, headers=bearer) for _ in range(count)]
        return {answer.json()["model_version"] for answer in answers}

    first, second = release(), release()
    for each in (first, second):
        await_workers(connection, deployments.promote(connection, "1993-12", each, []))
        assert [worker.version for worker in deployments.workers(connection)] == [each["model_version"]] * 2
        assert versions(20) == {each["model_version"]}
    begun = time.monotonic()
    await_workers(connection, deployments.roll_back(None, "it looked odd")[2])
    assert time.monotonic() - begun < 2
    assert versions(20) == {first["model_version"]}

    assert {httpx.post(f"{service}/predict", json={"instances": []}, headers=bearer).status_code for _ in range(20)} == {400}
    assert httpx.post(f"{service}/predict", json={"instances": [ASKED]}).status_code == 401
    for _ in range(5):
        told = httpx.get(f"{service}/metrics", headers=bearer).text
        assert f'flightdeck_refused_total{{error="invalid",model_version="{first["model_version"]}",route="/predict"}} 20.0' in told
        assert f'flightdeck_predictions_total{{model_version="{first["model_version"]}",purpose="live"}} 40.0' in told


def test_no_request_fails_while_versions_change(service: str, release: Callable[..., dict[str, Any]], connection: Connection) -> None:
    first, second = release(), release()
    for each in (first, second):
        await_workers(connection, deployments.promote(connection, "1993-12", each, []))
    given: list[tuple[int, int]] = []
    stop = Event()

    def ask() -> None:
        with httpx.Client(base_url=service, headers={"Authorization": f"Bearer {settings().secret('token')}"}) as client:
            while not stop.is_set():
                answer = client.post("/predict", json={"instances": [ASKED]})
                given.append((answer.status_code, answer.json().get("model_version")))

    with ThreadPoolExecutor() as askers:
        asking = [askers.submit(ask) for _ in range(4)]
        try:
            for _ in range(6):
                before = len(given)
                await_workers(connection, deployments.roll_back(None, "back and forth")[2])
                until(lambda before=before: len(given) > before + 20, 20)  # type: ignore[misc]
        finally:
            stop.set()
        for each in asking:
            each.result()
    assert {status for status, _ in given} == {200}
    assert {version for _, version in given} == {first["model_version"], second["model_version"]}


def test_what_is_asked_most_meets_no_other_layer_but_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    on = settings().model_copy(update={"token": True})
    monkeypatch.setattr(token, "settings", lambda: on)
    met: list[str] = []

    class Layer:
        """Stands where BentoML's are."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                met.append(scope["path"])
            await self.app(scope, receive, send)

    routes = [Route(path, lambda _: PlainTextResponse("inside")) for path in ("/health", "/metrics", "/predict")]
    bearer = {"Authorization": f"Bearer {settings().secret('token')}"}
    app = Starlette(routes=routes, middleware=[Middleware(Layer), Middleware(Foremost)])
    with listening(app, "on") as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        assert client.get("/health").text == "inside"
        assert client.post("/predict", json={"instances": []}, headers=bearer).json()["field"] == "instances"
        assert [client.request(*asked).status_code for asked in (("POST", "/predict"), ("GET", "/predict"), ("GET", "/metrics"))] == [401] * 3
        assert met == ["/health"]
        assert [client.get(path, headers=bearer).text for path in ("/metrics", "/predict")] == ["inside"] * 2
        assert met == ["/health", "/metrics", "/predict"]
