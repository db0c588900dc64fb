"""A small real model and its release, a registry at the edge of the seam, and the app behind a real HTTP server."""

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import httpx
import lightgbm as lgb
import numpy as np
import pytest
import uvicorn
from psycopg.types.json import Jsonb
from starlette.types import ASGIApp

from flightdeck import registry
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect
from ml.features import FEATURES
from serving import app as served
from serving import rollout, workers
from serving.connections import Bounded
from serving.follower import Follower
from serving.keep import Keep
from serving.routes import app
from serving.shadow import Shadow
from serving.spool import Spool

KEY = "2015-02"
VERSIONS = count(9001)


class Registry(ThreadingHTTPServer):
    """What serving needs of a model registry: files by path, and aliases."""

    artifacts: dict[str, bytes]
    aliases: dict[str, int]


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == f"{registry.API}/registered-models/get":
            aliases = [{"alias": name, "version": str(version)} for name, version in self.server.aliases.items()]
            return self._answer(200, json.dumps({"registered_model": {"aliases": aliases}}).encode())
        content = self.server.artifacts.get(path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/"))
        return self._answer(200 if content is not None else 404, content or b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.aliases[body["alias"]] = int(body["version"])
        self._answer(200, b"{}")

    def do_PUT(self) -> None:
        path = self.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/")
        self.server.artifacts[path] = self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b"{}")

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b"{}")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def models(home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry that the product's client talks to."""
    server = Registry(("127.0.0.1", 0), Handler)
    server.artifacts, server.aliases = {}, {}
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    elsewhere = settings().model_copy(update={"port_mlflow": server.server_port})
    monkeypatch.setattr(registry, "settings", lambda: elsewhere)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def booster() -> lgb.Booster:
    """Trained on a few hundred made-up rows, some values missing."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(400, len(FEATURES))) * 100
    rows[random.random(rows.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(rows[:, FEATURES.index("temp")]) + random.normal(size=400) > 0).astype(int)
    knobs = {"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 10, "verbose": -1, "deterministic": True, "force_row_wise": True, "seed": 1}
    return lgb.train(knobs, lgb.Dataset(rows, label=labels, feature_name=FEATURES), num_boost_round=20)


@pytest.fixture
def release(models: Registry, booster: lgb.Booster) -> Callable[..., dict[str, Any]]:
    """A new version's release, its file in the registry; what is passed replaces what is promised."""

    def make(**promised: Any) -> dict[str, Any]:
        version = next(VERSIONS)
        # each with a file of its own, and answers that are near the others'
        rounds = 11 + version % 10
        content = booster.model_to_string(num_iteration=rounds).encode()
        rows = [[float(number) for number in range(len(FEATURES))], [None, *[50.0] * (len(FEATURES) - 1)]]
        expected = booster.predict(np.array(rows, dtype=np.float64), num_iteration=rounds, num_threads=1).tolist()
        models.artifacts[f"1/{version}/model.lgb"] = content
        made = {
            "model_version": version,
            "learner": "lightgbm",
            "sha256": hashlib.sha256(content).hexdigest(),
            "artifact": f"1/{version}/model.lgb",
            "run_id": f"run{version}",
            "features": FEATURES,
            "partitions": ["2015-01"],
            "golden": {"rows": rows, "expected": expected},
        }
        return made | promised

    return make


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """The warehouse as the worker; what was predicted for far-off months is removed again."""
    with connect() as opened:
        yield opened
        opened.execute("delete from ops.predictions where model_version > 9000")


@pytest.fixture
def deployed(connection: Connection) -> Callable[[dict[str, Any]], int]:
    """Write a release down as what serves; returns its version."""

    def write(release: dict[str, Any]) -> int:
        connection.execute(
            "insert into ops.deployments (partition_key, model_version, state, release, code) values (%s, %s, 'champion', %s, 'test')",
            (KEY, release["model_version"], Jsonb(release)),
        )
        return int(release["model_version"])

    return write


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """A prediction log of the test's own, that is copied."""
    fresh = Spool(tmp_path / "log", every=0.01)
    monkeypatch.setattr(served, "spool", fresh)
    who = Spool(tmp_path / "askers", every=0.01, table="personal.askers", columns="prediction_id, subject")
    monkeypatch.setattr(served, "askers", who)
    fresh.start()
    who.start()
    yield fresh
    fresh.stop()
    who.stop()


@pytest.fixture
def follower(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    """A follower that has not looked yet; the app answers with what it finds."""
    fresh, shadow = Follower(every=0.02, keep=Keep(tmp_path / "kept")), Shadow(spool)
    monkeypatch.setattr(served, "follower", fresh)
    monkeypatch.setattr(served, "shadow", shadow)
    shadow.start()
    yield fresh
    fresh.stop()
    shadow.stop()


@pytest.fixture
def look(connection: Connection, follower: Follower) -> Callable[[], None]:
    """One look of the follower, with the rights that the service has."""

    def once() -> None:
        with connect("serving") as own:
            follower.now = follower.step(own)

    return once


@contextmanager
def listening(served: ASGIApp, lifespan: Literal["on", "off"] = "off", send_buffer: int = 0) -> Iterator[tuple[str, int]]:
    """An ASGI application behind a real server: (host, port). `send_buffer`: bytes that the system takes for a client, if not its own choice."""
    with socket.socket() as opened:
        if send_buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        server = uvicorn.Server(uvicorn.Config(served, log_level="critical", lifespan=lifespan, http=Bounded))
        thread = Thread(target=server.run, args=([opened],))
        thread.start()
        try:
            yield opened.getsockname()
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def address(follower: Follower) -> Iterator[tuple[str, int]]:
    with listening(app) as found:
        yield found


@pytest.fixture
def following(follower: Follower, address: tuple[str, int], connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app follows the warehouse, and a rollout asks it."""
    elsewhere = settings().model_copy(update={"port_serving": address[1]})
    for module in (rollout, workers):
        monkeypatch.setattr(module, "settings", lambda: elsewhere)
    follower.start()


@pytest.fixture
def client(address: tuple[str, int]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=20) as opened:
        yield opened


def until(condition: Callable[[], Any], seconds: float = 15) -> None:
    """Wait for something; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def await_health(client: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Ask for the health until its problem holds these words; returns it."""

    def until(words: str) -> dict[str, Any]:
        deadline = time.monotonic() + 10
        while words not in (now := client.get("/health").json())["problem"]:
            assert time.monotonic() < deadline, now
            time.sleep(0.02)
        return dict(now)

    return until


@pytest.fixture
def serving(release: Callable[..., dict[str, Any]], deployed: Callable[[dict[str, Any]], int], look: Callable[[], None]) -> int:
    """A good release serves; its version."""
    version = deployed(release())
    look()
    return version
