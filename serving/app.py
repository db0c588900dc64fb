"""The service's own routes: POST /predict, GET /health, and their description. BentoML mounts them and adds metrics."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from flightdeck.parameters import parameters
from ml.features import row
from serving.follower import Follower
from serving.prediction_log import LogUnavailable, PredictionLog
from serving.schema import MOST_BYTES, PURPOSES, YEARS, InvalidRequest, PredictAnswer, Prediction, decode, openapi

BODY_SECONDS = 20
OUT_OF_RANGE = Counter("flightdeck_values_out_of_range_total", "Optional values of requests that were out of range, and counted as missing")
PREDICTIONS = Counter("flightdeck_predictions_total", "Predictions given", ["model_version", "purpose"])
follower = Follower()
predictions = PredictionLog()


def _error(status: int, error: str, message: str, field: str = "") -> JSONResponse:
    return JSONResponse({"error": error, "field": field, "message": message}, status)


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is too large: what is announced is not trusted."""
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return None
    return bytes(body)


def _origin(request: Request) -> tuple[str, datetime]:
    """(purpose, time of asking): a replay says in headers that it is one, and at which simulated time it asks."""
    purpose = request.headers.get("x-purpose", "live")
    if purpose not in PURPOSES:
        raise InvalidRequest("x-purpose", f"expected one of {', '.join(PURPOSES)}")
    text = request.headers.get("x-requested-at")
    try:
        asked_at = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError:
        raise InvalidRequest("x-requested-at", "expected ISO 8601") from None
    if asked_at.tzinfo is None:
        raise InvalidRequest("x-requested-at", "expected a time zone, like 2013-02-01T05:00:00Z")
    if asked_at.year not in YEARS:
        raise InvalidRequest("x-requested-at", f"expected a year from {YEARS[0]} to {YEARS[-1]}")
    # in UTC: PostgreSQL does not take every offset that Python does
    return purpose, asked_at.astimezone(UTC)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """What the routing refuses, like another method, in the words of the other errors."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": "refused", "field": "", "message": error.detail}, error.status_code, error.headers)


async def predict(request: Request) -> Response:
    try:
        body = await _body(request)
        if body is None:
            return _error(413, "too_large", f"at most {MOST_BYTES} bytes a request")
        wanted, (purpose, asked_at) = decode(body), _origin(request)
    except InvalidRequest as error:
        return _error(400, "invalid", error.message, error.field)
    except TimeoutError:
        return _error(408, "too_slow", f"the body did not come within {BODY_SECONDS} s")
    except ClientDisconnect:
        # nobody reads this, but it is no error of ours
        return _error(400, "invalid", "the body ended early")
    now = follower.now
    if now.release is None or now.reference is None:
        return _error(503, "no_release", now.problem or "no release has been deployed yet")
    asked = [now.reference.ask(instance) for instance in wanted.instances]
    probabilities = now.release.predict([row(one.features) for one in asked])
    answers = [(uuid4(), probability) for probability in probabilities]
    try:
        await predictions.write(asked, answers, now.release.version, purpose, asked_at)
    except LogUnavailable as error:
        return _error(503, "log_unavailable", str(error))
    OUT_OF_RANGE.inc(sum(one.out_of_range for one in asked))
    PREDICTIONS.labels(str(now.release.version), purpose).inc(len(answers))
    late = parameters()["model"]["decides_late_from"]
    answer = PredictAnswer(now.release.version, [Prediction(str(identity), value, value >= late) for identity, value in answers])
    return Response(msgspec.json.encode(answer), media_type="application/json")


async def health(_: Request) -> JSONResponse:
    now = follower.now
    history = now.reference.published[-1] if now.reference and now.reference.published else None
    version = now.release.version if now.release else None
    return JSONResponse({"model_version": version, "newest_partition": history, "problem": now.problem})


async def ready(_: Request) -> JSONResponse:
    """For load balancers: whether this process answers right, now. Before the first release it is ready to say that there is none."""
    release = follower.now.release
    if follower.now.ledger < 0:
        return _error(503, "starting", follower.now.problem or "the warehouse has not been read yet")
    if release and not release.gives_golden_answers():
        return _error(503, "wrong", f"version {release.version} does not give its golden answers")
    return JSONResponse({"model_version": release.version if release else None})


async def description(_: Request) -> JSONResponse:
    return JSONResponse(openapi())


async def page(_: Request) -> FileResponse:
    """In place of BentoML's own start page, which loads a tracker from elsewhere."""
    return FileResponse(Path(__file__).with_name("page.html"))


app = Starlette(
    routes=[Route("/predict", predict, methods=["POST"]), Route("/health", health), Route("/ready", ready), Route("/docs.json", description), Route("/", page)],
    exception_handlers={HTTPException: _refused},
)
