"""The service `reports`: pages, metrics of the warehouse, and the token that both ask for where it is switched on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep

import httpx
import pytest
import uvicorn

from flightdeck import exporter, pages, site, token
from flightdeck.settings import settings
from flightdeck.warehouse import connect


@contextmanager
def served() -> Iterator[httpx.Client]:
    """The site behind a real HTTP server."""
    server = uvicorn.Server(uvicorn.Config(pages.site(), port=0, log_level="warning"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, follow_redirects=True) as client:
        yield client
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def client(database: str) -> Iterator[httpx.Client]:
    site.write()
    with served() as opened:
        yield opened


@pytest.fixture
def guarded(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    on = settings().model_copy(update={"token": True})
    monkeypatch.setattr(token, "settings", lambda: on)
    site.write()
    with served() as opened:
        yield opened


def test_pages_are_open_on_one_machine(client: httpx.Client) -> None:
    assert "Flightdeck reports" in client.get("/").text
    assert client.get("/drift/").status_code == 200
    assert client.get("/../secrets/token").status_code == 404
    assert client.get("/health").text == "ok"


def test_each_query_gives_its_metric(client: httpx.Client) -> None:
    with connect() as connection:
        connection.execute("insert into ops.canary (at) values (now()) on conflict do nothing")
    text = client.get("/metrics").text
    assert "flightdeck_warehouse_up 1.0" in text
    assert len(exporter.queries()) >= 12
    declared = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name for name in exporter.queries() if name not in declared} == set()


def test_a_warehouse_that_is_gone_is_a_metric(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = settings().model_copy(update={"port_postgres": 1})
    monkeypatch.setattr("flightdeck.warehouse.settings", lambda: gone)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "flightdeck_warehouse_up 0.0" in answer.text
    assert "flightdeck_champion_version" not in answer.text


@pytest.mark.parametrize("path", ["/", "/index.html", "/metrics", "/drift/", "/health/../metrics", "//metrics"])
def test_without_the_token_nothing_is_told(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 401
    for header in ("Bearer", "Bearer wrong", "Basic !!!", "Basic d3Jvbmc=", "Digest x", "é"):
        assert guarded.get(path, headers={"Authorization": header.encode()}).status_code == 401, header


def test_the_token_opens_as_bearer_and_as_password(guarded: httpx.Client) -> None:
    secret = settings().secret("token")
    assert guarded.get("/", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert guarded.get("/metrics", auth=("anybody", secret)).status_code == 200
    assert guarded.get("/health").status_code == 200


def test_no_start_page_is_not_healthy(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = settings().model_copy(update={"home": tmp_path})
    monkeypatch.setattr(pages, "settings", lambda: empty)
    with served() as opened:
        assert opened.get("/health").status_code == 503
