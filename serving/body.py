"""A request's body, read within bounds of size and time."""

import asyncio
from time import monotonic
from typing import Any

from starlette.types import Receive

from serving.schema import MOST_BYTES

BODY_SECONDS = 8


class Refusal(Exception):
    """A request that gets no prediction, and why."""

    def __init__(self, status: int, error: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.content = status, {"error": error, "field": field, "message": message}


async def _body(receive: Receive) -> bytes:
    """The body, as long as it is not too large: what is announced is not trusted."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            # nobody reads this, but it is no error of ours
            raise Refusal(400, "invalid", "the body ended early")
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise Refusal(413, "too_large", f"at most {MOST_BYTES} bytes a request")
        if not message.get("more_body"):
            return bytes(body)


class Patience:
    """Ends what waits for a body for too long: one look at all of them a second, where a timer each would cost a fifth of a request."""

    def __init__(self) -> None:
        self.since: dict[asyncio.Task[Any], float] = {}
        self.looking: asyncio.AbstractEventLoop | None = None

    async def body(self, receive: Receive) -> bytes:
        """Raises TimeoutError."""
        task = asyncio.current_task()
        assert task
        self.since[task] = monotonic()
        if self.looking is not task.get_loop():
            self._look()
        try:
            return await _body(receive)
        except asyncio.CancelledError:
            if task in self.since:
                # somebody else's word
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self.since.pop(task, None)

    def _look(self) -> None:
        now = monotonic()
        for task in [task for task, since in self.since.items() if now - since > BODY_SECONDS]:
            del self.since[task]
            task.cancel()
        self.looking = asyncio.get_running_loop() if self.since else None
        if self.looking:
            self.looking.call_later(min(1.0, BODY_SECONDS), self._look)


patience = Patience()
