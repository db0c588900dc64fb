"""What the adapters' tests share: a source read by an adapter instead of ours, and the stations' API with a fault in it."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from flightdeck import ledger
from flightdeck.settings import settings
from ingestion.contract import SourceError
from ingestion.load import load
from tests.ingestion.months import content, tries

Body = dict[str, Any]


class Stations(ThreadingHTTPServer):
    """Sends on what the world's API answers, after `fault` has been at it: (page, body) → (status, body)."""

    daemon_threads = True
    fault: Callable[[int, Body], tuple[int, Body]] = staticmethod(lambda page, body: (200, body))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Stations

    def do_GET(self) -> None:
        body = httpx.get(settings().url("world") + self.path).json()
        status, body = self.server.fault(body["page"], body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """The test's output is not the place."""


def raw(key: str) -> dict[str, tuple[str | None, int]]:
    """A checksum and a count of what is in raw of the month and in quarantine, but for load ids."""
    return {name: value for name, value in content(key).items() if name in ("flights", "weather", "quarantine")}


def unpublished(key: str, match: str) -> None:
    """Loading the month fails with this reason, which the ledger then holds; no reader sees any of it."""
    with pytest.raises(SourceError, match=match) as raised:
        load(key)
    attempt, state, facts = tries(key)[-1]
    assert (state, facts["error"]) == ("failed", f"SourceError: {raised.value}"[:2000])
    assert tries(key)[-2][:2] == (attempt, "started")
    assert ledger.last("ingest", key) is None
    assert {count for _, count in raw(key).values()} == {0}
