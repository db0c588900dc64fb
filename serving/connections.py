"""Connections that do not wait for ever: uvicorn has no bound on the time of a request's head, nor on that of a client which does not read its answer."""

import asyncio
from time import monotonic
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SECONDS = 8
LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol over httptools. One look at all connections a second ends those that are stuck; a request itself costs nothing more."""

    # whose connections are looked at
    looking: ClassVar[asyncio.AbstractEventLoop | None] = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if Bounded.looking is not self.loop:
            look(self.loop, self.connections, {})

    @property
    def stuck(self) -> bool:
        """While it is between an answer and the end of the next request's head without being idle (uvicorn ends idle ones), is not read, or is closing."""
        between = self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)
        return between or self.flow.write_paused or self.transport.is_closing()

    def end(self) -> None:
        if self.flow.write_paused or self.transport.is_closing():
            # what it has not read is lost
            self.transport.abort()
        else:
            self.transport.write(LATE)
            self.transport.close()


# by the request that it has answered last, and the bytes of the answer that are still to be read
State = tuple[Bounded, Any, int]


def look(loop: asyncio.AbstractEventLoop, connections: set[Any], before: dict[State, float]) -> None:
    """`before`: since when a connection has been stuck in the same state."""
    now = monotonic()
    stuck = [(each, each.cycle, each.transport.get_write_buffer_size()) for each in connections if isinstance(each, Bounded) and each.stuck]
    since = {state: before.get(state, now) for state in stuck}
    for (connection, *_), at in since.items():
        if now - at > SECONDS:
            connection.end()
    Bounded.looking = loop if connections else None
    if connections:
        loop.call_later(min(1, SECONDS), look, loop, connections, since)
