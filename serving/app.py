"""The service's own routes: POST /predict, the Open Inference Protocol, health, and their description. BentoML mounts them."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.subjects import Pseudonyms, VaultUnavailable
from flightdeck.token import Token
from ml.learners import InvalidModel
from serving import answer, metrics
from serving import body as bodies
from serving.answer import Asking
from serving.body import Refusal
from serving.follower import Follower, Serving
from serving.reference import Asked
from serving.release import Release
from serving.schema import PURPOSES, YEARS, InvalidRequest, PredictAnswer, Prediction, PredictRequest, decode, openapi
from serving.shadow import Shadow
from serving.spool import LogUnavailable, Spool
from serving.window import Window

# so many are answered at a stretch; then other requests have their turn
AT_A_STRETCH = 500
log = logging.getLogger("flightdeck.serving")
JSON = [(b"content-type", b"application/json")]
ENCODE = msgspec.json.Encoder().encode
follower = Follower()
spool = Spool(settings().home / "serving" / "log")
# who asked is kept apart from what was asked
askers = Spool(settings().home / "serving" / "askers", table="personal.askers", columns="prediction_id, subject")
pseudonyms = Pseudonyms()
shadow = Shadow(spool)
window = Window()
LATE = parameters()["model"]["decides_late_from"]


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


def _refusal(error: Exception) -> Refusal:
    """What went wrong, as an answer."""
    match error:
        case Refusal():
            return error
        case InvalidRequest():
            return Refusal(400, "invalid", error.message, error.field)
        case TimeoutError():
            return Refusal(408, "too_slow", f"the body did not come within {bodies.BODY_SECONDS} s")
        case LogUnavailable():
            return Refusal(503, "log_unavailable", str(error))
        case InvalidModel():
            return Refusal(503, "wrong", str(error))
        case _:
            log.error("a request could not be answered", exc_info=error)
            return Refusal(500, "internal", "the service's log says more")


class Answering:
    """An ASGI application that reads a body, answers it with predictions, and turns whatever goes wrong into one of the service's errors."""

    route = "/predict"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = perf_counter(), 200
        try:
            asking = _asking(scope["headers"])
            content, found, headers = await self.answer(await bodies.patience.body(receive), asking, scope)
            seconds, predictions = metrics.answered(self.route, str(found[0].release.version), asking.purpose)
            seconds.observe(perf_counter() - begun)
            predictions.inc(sum([len(each.rows) for each in found]))
        except Exception as error:  # noqa: BLE001
            refusal, serves = _refusal(error), follower.now.release
            status, content, headers = refusal.status, ENCODE(refusal.content), JSON
            metrics.REFUSED.labels(self.route, refusal.content["error"], str(serves.version) if serves else "none").inc()
        start: Message = {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(content))]}
        await send(start)
        await send({"type": "http.response.body", "body": content})

    async def answer(self, body: bytes, asking: Asking, scope: Scope) -> tuple[bytes, list[answer.Part], list[tuple[bytes, bytes]]]:
        """(content, what was answered, headers)."""
        wanted: PredictRequest = decode(body)
        now = follower.now
        if now.reference is None:
            raise Refusal(503, "no_release", now.problem or "no release has been deployed yet")
        if wanted.subject and asking.purpose != "probe":
            asking = Asking(asking.purpose, asking.at, await _pseudonym(wanted.subject))
        found = await give(now, body, [now.reference.ask(each) for each in wanted.instances], asking)
        predictions = [
            Prediction(identity, value, value >= LATE) for each in found for identity, value in zip(each.identities, each.probabilities, strict=True)
        ]
        return ENCODE(PredictAnswer(found[0].release.version, predictions)), found, JSON


async def _pseudonym(subject: str) -> str | None:
    """What stands for who asks; None where there is none to be had: then who asked is not kept, and the answer is given all the same."""
    try:
        return pseudonyms.at_hand(subject) or await asyncio.to_thread(pseudonyms.of, subject)
    except VaultUnavailable:
        metrics.NAMELESS.inc()
        return None


async def _parts(release: Release, asked: list[Asked], asking: Asking) -> list[answer.Part]:
    parts = []
    for start in range(0, len(asked), AT_A_STRETCH):
        if start:
            await asyncio.sleep(0)
        parts.append(answer.part(release, asked[start : start + AT_A_STRETCH], asking))
    return parts


async def give(now: Serving, body: bytes, asked: list[Asked], asking: Asking, named: Release | None = None) -> list[answer.Part]:
    """Answer, by the release that is named or by the rollout's choice, and log all of it or nothing; raises Refusal, LogUnavailable or InvalidModel."""
    release = named or answer.chosen(now, body)
    if release is None:
        raise Refusal(503, "no_release", now.problem or "no release has been deployed yet")
    failed = b""
    try:
        parts = await _parts(release, asked, asking)
    except InvalidModel:
        if named or release is not now.candidate or now.release is None:
            raise
        # the champion gives all of the answer: one answer, one version
        failed = answer.failure(release, asked, asking)
        parts = await _parts(now.release, asked, asking)
    if asking.subject:
        askers.append(answer.askers(parts, asking.subject))
    spool.append(failed + b"".join([each.lines for each in parts]))
    for each in parts:
        _hand_on(now, each, asking)
    if out := sum([one.out_of_range for one in asked]):
        metrics.OUT_OF_RANGE.inc(out)
    return parts


def _hand_on(now: Serving, part: answer.Part, asking: Asking) -> None:
    """To what is done behind the answers."""
    if asking.purpose != "probe" and part.release is now.release:
        window.add(part)
    if now.candidate and not now.share:
        shadow.offer(now.candidate, part, asking.at)


predict = Answering()


class Foremost:
    """ASGI middleware that comes before all of BentoML's: what is asked most is answered before its layers and any routing.

    Those make a task, a future and a timer for each request, which takes longer than most answers; BentoML puts what it is given inside of them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            whole: Starlette = scope["app"]
            assert whole.middleware_stack
            whole.middleware_stack = Token(Direct(whole.middleware_stack))
        await self.app(scope, receive, send)


class Direct:
    """ASGI middleware: POST /predict is answered here, all else further in."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["type"] == "http" and scope["path"] == "/predict" and scope["method"] == "POST"
        await (predict if direct else self.app)(scope, receive, send)


def _error(status: int, error: str, message: str) -> JSONResponse:
    return JSONResponse(Refusal(status, error, message).content, status)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """What the routing refuses, like another method, in the words of the other errors."""
    assert isinstance(error, HTTPException)
    return JSONResponse(Refusal(error.status_code, "refused", error.detail).content, error.status_code, error.headers)


async def health(_: Request) -> JSONResponse:
    now = follower.now
    history = now.reference.published[-1] if now.reference and now.reference.published else None
    version = now.release.version if now.release else None
    problem = "; ".join(each for each in (now.problem, spool.problem, askers.problem) if each)
    return JSONResponse({"model_version": version, "newest_partition": history, "log_backlog_bytes": spool.backlog + askers.backlog, "problem": problem})


async def ready(_: Request) -> JSONResponse:
    """For load balancers: whether this process answers right, now. Before the first release it is ready to say that there is none."""
    release = follower.now.release
    if follower.now.ledger < 0:
        return _error(503, "starting", follower.now.problem or "the warehouse has not been read yet")
    if release and not release.gives_golden_answers():
        return _error(503, "wrong", f"version {release.version} does not give its golden answers")
    return JSONResponse({"ready": True, "model_version": release.version if release else None})


async def exposition(_: Request) -> Response:
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def description(_: Request) -> JSONResponse:
    return JSONResponse(openapi())


async def page(_: Request) -> FileResponse:
    """In place of BentoML's own start page, which loads a tracker from elsewhere."""
    return FileResponse(Path(__file__).with_name("page.html"))
