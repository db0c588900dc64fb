"""A load generator for HTTP on loopback: so many connections, each sending its next request when it has its answer."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Load:
    """What was sent and what came back: seconds of each answer, the count of each status, and connections that broke."""

    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


class Connection(asyncio.Protocol):
    """One keep-alive connection; `follow` gives its next request, or None at the end, and is told each answer."""

    def __init__(self, load: Load, follow: Callable[[bytes | None], bytes | None]) -> None:
        self.load, self.follow = load, follow
        self.got, self.begun = b"", 0.0
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._next(None)

    def _next(self, answer: bytes | None) -> None:
        request = self.follow(answer)
        if request is None:
            self.transport.close()
            return
        self.begun = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.got += data
        head = self.got.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self.got.lower().find(b"content-length:", 0, head) + 15
        if len(self.got) < head + 4 + int(self.got[at : self.got.find(b"\r", at)]):
            return
        self.load.latencies.append(time.perf_counter() - self.begun)
        status = int(self.got[9:12])
        self.load.statuses[status] = self.load.statuses.get(status, 0) + 1
        answer, self.got = self.got[head + 4 :], b""
        self._next(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(error)


def request(path: str, body: bytes, headers: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


async def fire(port: int, requests: list[bytes], seconds: float, connections: int) -> Load:
    """The requests over and over, for so long."""
    load, loop, sent = Load(), asyncio.get_running_loop(), 0
    stop = time.perf_counter() + seconds

    def follow(_: bytes | None) -> bytes | None:
        nonlocal sent
        sent += 1
        return requests[sent % len(requests)] if time.perf_counter() < stop else None

    begun = time.perf_counter()
    opened = [(await loop.create_connection(lambda: Connection(load, follow), "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.gather(*(each.over for each in opened))
    load.seconds = time.perf_counter() - begun
    return load


if __name__ == "__main__":
    import uvloop

    port, path, seconds, connections = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    found = uvloop.run(fire(port, [request(path, line.strip()) for line in sys.stdin.buffer], seconds, connections))
    told = {"rate": found.rate, "p50": found.quantile(0.5), "p99": found.quantile(0.99), "statuses": found.statuses}
    sys.stdout.write(json.dumps(told))
