"""An alert is a row, and one POST where a webhook is set; whatever that does, the stage goes on. The server is a real one."""

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from flightdeck import alert as module
from flightdeck.alert import Alert, send
from flightdeck.ledger import Attempt
from flightdeck.warehouse import Row, query

ALERT = Alert("landing.any", "warning", "landing.any of 2037-05: 1 unusual", ["rows is 0, usual 1 to 2"])
ATTEMPT = Attempt("ingest", "2037-05", 7)
SECRET = "token-nobody-should-read"


@pytest.fixture
def webhook(database: str, setenv: Callable[..., None]) -> Callable[[str], None]:
    """Sets the setting."""
    return lambda address: setenv(FLIGHTDECK_ALERT_WEBHOOK=address)


class Receiver(BaseHTTPRequestHandler):
    """Answers the status that the path ends with, or late."""

    received: list[Any] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.path.rsplit("/", 1)[1]
        if status == "late":
            time.sleep(1)
            status = "200"
        self.send_response(int(status))
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def server() -> Iterator[str]:
    Receiver.received.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}"
        server.shutdown()


def _row() -> Row:
    (row,) = query("select * from ops.alerts where source = 'landing.any' and partition_key = '2037-05'")
    return row


def test_without_a_webhook_an_alert_is_a_row(database: str) -> None:
    send(ATTEMPT, ALERT)
    row = _row()
    assert {name: row[name] for name in ("attempt", "severity", "summary", "details", "delivered", "error")} == {
        "attempt": 7, "severity": "warning", "summary": ALERT.summary, "details": ALERT.details, "delivered": None, "error": None,
    }  # fmt: skip


def test_a_webhook_gets_one_post_with_all_of_it(webhook: Callable[[str], None], server: str) -> None:
    webhook(f"{server}/200")
    send(ATTEMPT, ALERT)
    assert Receiver.received == [
        {
            "text": ALERT.summary, "summary": ALERT.summary, "severity": "warning", "source": "landing.any",
            "stage": "ingest", "partition": "2037-05", "attempt": 7, "details": ALERT.details,
        }
    ]  # fmt: skip
    assert (_row()["delivered"], _row()["error"]) == (True, None)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("{server}/500", "the webhook answered 500"),
        ("{server}/302", "the webhook answered 302"),
        ("http://127.0.0.1:1/{secret}", "ConnectError"),
        ("{server}/late", "ReadTimeout"),
        ("nonsense-{secret}", "UnsupportedProtocol"),
        ("http://127.0.0.1:{secret}/", "InvalidURL"),
    ],
)
def test_a_webhook_that_fails_is_noted_without_its_address(
    webhook: Callable[[str], None], server: str, monkeypatch: pytest.MonkeyPatch, address: str, error: str
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    webhook(address.format(server=server, secret=SECRET))
    send(ATTEMPT, ALERT)
    row = _row()
    assert row["delivered"] is False
    assert row["error"].startswith(error)
    assert SECRET not in row["error"]
