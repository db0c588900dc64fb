"""Health checks: of what a service is there for; one that fails says why."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from flightdeck.probe import failure


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        health = {"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}, "dag_processor": {"status": None}}
        known = self.headers.get("authorization") == "Basic " + base64.b64encode(b"admin:word").decode()
        status = {"/health": 200, "/broken": 503, "/asks": 200 if known else 401}[self.path.partition("?")[0]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(health).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_healthy_is_silent(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTDECK_HOME", str(tmp_path))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_text("word\n")
    assert failure(url + "/health") == ""
    assert failure(url + "/health", part="scheduler") == ""
    assert failure(url + "/asks?x=1", secret="password") == ""


def test_what_fails_says_why(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTDECK_HOME", str(tmp_path))
    assert failure(url + "/broken").startswith(f"{url}/broken: 503")
    assert failure(url + "/health", part="triggerer") == "Airflow says that its triggerer is unhealthy"
    assert failure(url + "/health", part="dag_processor") == "Airflow says that its dag_processor is None"
    assert "KeyError" in failure(url + "/health", part="other")
    assert "401" in failure(url + "/asks")
    assert "No such file" in failure(url + "/asks", secret="password")
    assert "refused" in failure("http://127.0.0.1:1/health")


def test_as_a_command_it_exits_with_0_or_1(url: str) -> None:
    healthy = subprocess.run([sys.executable, "-m", "flightdeck.probe", url + "/health", "part=scheduler"], capture_output=True, text=True)
    assert (healthy.returncode, healthy.stderr) == (0, "")
    broken = subprocess.run([sys.executable, "-m", "flightdeck.probe", url + "/broken"], capture_output=True, text=True)
    assert (broken.returncode, "503" in broken.stderr) == (1, True)
