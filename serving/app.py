"""The service's own routes: POST /predict, the Open Inference Protocol, health, and their description. BentoML mounts them and adds metrics."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flightdeck.parameters import parameters
from flightdeck.settings import settings
from ml.learners import InvalidModel
from serving import answer, metrics
from serving.answer import Asking
from serving.follower import Follower, Serving
from serving.reference import Asked
from serving.release import Release
from serving.schema import MOST_BYTES, PURPOSES, YEARS, InvalidRequest, PredictAnswer, Prediction, PredictRequest, decode, openapi
from serving.shadow import Shadow
from serving.spool import LogUnavailable, Spool

BODY_SECONDS = 8
# so many are answered at a stretch; then other requests have their turn
AT_A_STRETCH = 500
JSON = [(b"content-type", b"application/json")]
ENCODE = msgspec.json.Encoder().encode
follower = Follower()
spool = Spool(settings().home / "serving" / "log")
shadow = Shadow(spool)
LATE = parameters()["model"]["decides_late_from"]


class Refusal(Exception):
    """A request that gets no prediction, and why."""

    def __init__(self, status: int, error: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.content = status, {"error": error, "field": field, "message": message}


async def _body(receive: Receive) -> bytes:
    """The body, as long as it is not too large: what is announced is not trusted."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            # nobody reads this, but it is no error of ours
            raise Refusal(400, "invalid", "the body ended early")
        body = body + message["body"] if body else message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise Refusal(413, "too_large", f"at most {MOST_BYTES} bytes a request")
        if not message.get("more_body"):
            return body


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


def _asking(headers: list[tuple[bytes, bytes]]) -> Asking:
    purpose, at = "live", None
    for name, value in headers:
        if name == b"x-purpose":
            purpose = value.decode("latin-1")
            if purpose not in PURPOSES:
                raise InvalidRequest("x-purpose", f"expected one of {', '.join(PURPOSES)}")
        elif name == b"x-requested-at":
            at = _time(value.decode("latin-1"))
        elif name == b"content-type" and b"pickle" in value.lower():
            raise Refusal(415, "media_type", "pickles are never read; send JSON")
    return Asking(purpose, (at or datetime.now(UTC)).isoformat())


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("x-requested-at", "expected ISO 8601") from None
    if at.tzinfo is None:
        raise InvalidRequest("x-requested-at", "expected a time zone, like 2013-02-01T05:00:00Z")
    if at.year not in YEARS:
        raise InvalidRequest("x-requested-at", f"expected a year from {YEARS[0]} to {YEARS[-1]}")
    # in UTC: PostgreSQL does not take every offset that Python does
    return at.astimezone(UTC)


class Answering:
    """An ASGI application that reads a body, answers it with predictions, and turns whatever goes wrong into one of the service's errors."""

    route = "/predict"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, version, status, headers = perf_counter(), "", 200, JSON
        try:
            asking = _asking(scope["headers"])
            content, found, headers = await self.answer(await patience.body(receive), asking, scope)
            version, count = str(found[0].release.version), sum([len(each.rows) for each in found])
        except Refusal as refusal:
            status, content = refusal.status, ENCODE(refusal.content)
        except InvalidRequest as error:
            status, content = 400, ENCODE({"error": "invalid", "field": error.field, "message": error.message})
        except TimeoutError:
            status, content = 408, ENCODE({"error": "too_slow", "field": "", "message": f"the body did not come within {BODY_SECONDS} s"})
        except LogUnavailable as error:
            status, content = 503, ENCODE({"error": "log_unavailable", "field": "", "message": str(error)})
        except InvalidModel as error:
            status, content = 503, ENCODE({"error": "wrong", "field": "", "message": str(error)})
        if version:
            seconds, predictions = metrics.answered(self.route, version, asking.purpose)
            seconds.observe(perf_counter() - begun)
            predictions.inc(count)
        else:
            headers = JSON
            metrics.REFUSED.labels(self.route, msgspec.json.decode(content)["error"]).inc()
        start: Message = {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(content))]}
        await send(start)
        await send({"type": "http.response.body", "body": content})

    async def answer(self, body: bytes, asking: Asking, scope: Scope) -> tuple[bytes, list[answer.Part], list[tuple[bytes, bytes]]]:
        """(content, what was answered, headers)."""
        wanted: PredictRequest = decode(body)
        now = follower.now
        if now.reference is None:
            raise Refusal(503, "no_release", now.problem or "no release has been deployed yet")
        found = await give(now, body, [now.reference.ask(each) for each in wanted.instances], asking)
        predictions = [
            Prediction(identity, value, value >= LATE) for each in found for identity, value in zip(each.identities, each.probabilities, strict=True)
        ]
        return ENCODE(PredictAnswer(found[0].release.version, predictions)), found, JSON


async def give(now: Serving, body: bytes, asked: list[Asked], asking: Asking, named: Release | None = None) -> list[answer.Part]:
    """Answer, by the release that is named or by the rollout's choice, and log all of it or nothing; raises Refusal, LogUnavailable or InvalidModel."""
    release = named or answer.chosen(now, body)
    if release is None:
        raise Refusal(503, "no_release", now.problem or "no release has been deployed yet")
    parts = []
    for start in range(0, len(asked), AT_A_STRETCH):
        if start:
            await asyncio.sleep(0)
        parts.append(answer.part(now, release, asked[start : start + AT_A_STRETCH], asking))
        # one answer, one version
        release = parts[-1].release
    spool.append(b"".join([each.lines for each in parts]))
    if now.candidate and not now.share:
        for each in parts:
            shadow.offer(now.candidate, each, asking.at)
    if out := sum([one.out_of_range for one in asked]):
        metrics.OUT_OF_RANGE.inc(out)
    return parts


predict = Answering()


class Direct:
    """ASGI middleware: what is asked most is answered before any routing, at a fraction of its cost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST"
        await (predict if direct else self.app)(scope, receive, send)


def _error(status: int, error: str, message: str) -> JSONResponse:
    return JSONResponse({"error": error, "field": "", "message": message}, status)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """What the routing refuses, like another method, in the words of the other errors."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": "refused", "field": "", "message": error.detail}, error.status_code, error.headers)


async def health(_: Request) -> JSONResponse:
    now = follower.now
    history = now.reference.published[-1] if now.reference and now.reference.published else None
    version = now.release.version if now.release else None
    problem = "; ".join(each for each in (now.problem, spool.problem) if each)
    return JSONResponse({"model_version": version, "newest_partition": history, "log_backlog_bytes": spool.backlog, "problem": problem})


async def ready(_: Request) -> JSONResponse:
    """For load balancers: whether this process answers right, now. Before the first release it is ready to say that there is none."""
    release = follower.now.release
    if follower.now.ledger < 0:
        return _error(503, "starting", follower.now.problem or "the warehouse has not been read yet")
    if release and not release.gives_golden_answers():
        return _error(503, "wrong", f"version {release.version} does not give its golden answers")
    return JSONResponse({"ready": True, "model_version": release.version if release else None})


async def exposition(_: Request) -> Response:
    metrics.BACKLOG.set(spool.backlog)
    metrics.UNTAKEN.set(spool.refused)
    metrics.PROBLEM.set(bool(follower.now.problem or spool.problem))
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def description(_: Request) -> JSONResponse:
    return JSONResponse(openapi())


async def page(_: Request) -> FileResponse:
    """In place of BentoML's own start page, which loads a tracker from elsewhere."""
    return FileResponse(Path(__file__).with_name("page.html"))
