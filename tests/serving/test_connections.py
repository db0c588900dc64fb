"""Clients that are too slow, with their head, their body or their reading, are cut off; who is only slow, or idle, is not."""

import json
import socket
import time
from contextlib import suppress

import httpx
import pytest

from serving import connections
from serving.routes import app
from serving.schema import MOST_INSTANCES
from tests.serving.conftest import listening
from tests.serving.test_app import ASKED

HEAD = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.5)


def trickle(connection: socket.socket, each: bytes, most: float = 10) -> bytes:
    """Send this again and again until the other side answers or closes; what it said."""
    connection.settimeout(0.1)
    begun = time.monotonic()
    while time.monotonic() - begun < most:
        try:
            connection.sendall(each)
            return connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return b"closed"
    raise AssertionError("it waits for ever")


def read(connection: socket.socket) -> int:
    """Bytes until the end."""
    got = 0
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            got += len(part)
    return got


@pytest.mark.parametrize("each", [b"x-a: b\r\n", b"x"], ids=["header by header", "one that does not end"])
def test_a_head_that_does_not_end_is_cut_off(serving: int, address: tuple[str, int], client: httpx.Client, each: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(HEAD)
        assert trickle(connection, each).startswith(b"HTTP/1.1 408")
    assert client.get("/health").status_code == 200


def test_who_says_nothing_is_cut_off(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=10) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_the_second_request_of_a_connection_is_bounded_too(serving: int, address: tuple[str, int]) -> None:
    body = json.dumps({"instances": [ASKED]}).encode()
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            # idle, and within what is allowed
            time.sleep(1)
        connection.sendall(HEAD)
        assert trickle(connection, b"x-a: b\r\n").startswith(b"HTTP/1.1 408")


def test_who_does_not_read_the_answer_is_cut_off(serving: int) -> None:
    body = json.dumps({"instances": [ASKED] * MOST_INSTANCES}).encode()
    whole = HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with listening(app, send_buffer=4096) as address:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(whole)
            assert read(connection) > 1_000_000
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(20)
            connection.connect(address)
            connection.sendall(whole)
            time.sleep(4)
            assert read(connection) < 100_000


@pytest.mark.parametrize("again", ["at once", "after the answer"])
def test_who_does_not_read_and_asks_once_more_is_cut_off(serving: int, again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS", 2)
    body = json.dumps({"instances": [ASKED] * MOST_INSTANCES}).encode()
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    with listening(app, send_buffer=4096) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(whole)
        if again == "after the answer":
            time.sleep(1)
        connection.sendall(whole)
        time.sleep(6)
        assert read(connection) < 100_000


def test_who_reads_slowly_gets_all_of_it(serving: int) -> None:
    body = json.dumps({"instances": [ASKED] * MOST_INSTANCES}).encode()
    with listening(app, send_buffer=4096) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        got, begun = 0, time.monotonic()
        while part := connection.recv(40_000):
            got += len(part)
            time.sleep(0.1)
    assert got > 1_000_000
    assert time.monotonic() - begun > 4 * connections.SECONDS


def test_a_head_and_a_body_in_many_parts_are_answered(serving: int, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS", 4)
    body = json.dumps({"instances": [ASKED]}).encode()
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(address, timeout=10) as connection:
        for at in range(0, len(whole), 40):
            connection.sendall(whole[at : at + 40])
            time.sleep(0.1)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
