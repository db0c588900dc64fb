"""The weather stations' REST API: GET /weather?month=2013-01&as_of=2013-02-03T05:00:00Z&page=1&limit=1000, and what changed since.

`day` and `hour` beside the month ask for a part of it.
"""

import json
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from world import api_faults
from world.data import weather

ANSWERS = Counter("world_answers_total", "Answers of the stations, by route and status", ["route", "status"])


class Answer(JSONResponse):
    """JSON as the stations write it: like many a source, with NaN where a number is none."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def _number(request: Request, name: str, default: int, most: int, least: int = 1) -> int:
    text = request.query_params.get(name, str(default))
    # Python refuses to read thousands of digits, with an error of its own
    if not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise HTTPException(400, f"{name} must be a number from {least} to {most}")
    return int(text)


def _times(request: Request, *names: str) -> list[datetime]:
    needed = ", ".join(("month (YYYY-MM, of 2013)", *(f"{name} (ISO 8601, with its zone)" for name in names)))
    try:
        times = [datetime.fromisoformat(request.query_params[name]) for name in names]
    except (KeyError, ValueError):
        raise HTTPException(400, f"these are needed: {needed}") from None
    if bare := [name for name, time in zip(names, times, strict=True) if time.tzinfo is None]:
        raise HTTPException(400, f"{bare[0]} needs its zone, like 2013-02-03T05:00:00Z")
    if request.query_params.get("month") not in weather():
        raise HTTPException(400, f"these are needed: {needed}")
    return times


def _part(request: Request) -> dict[str, int]:
    """The day, and its hour, that rows have to be of."""
    return {name: _number(request, name, 0, most, least) for name, most, least in (("day", 31, 1), ("hour", 23, 0)) if name in request.query_params}


async def observations(request: Request) -> JSONResponse:
    """One page of a month's observations that were published by `as_of`, in all versions known by then."""
    (as_of,) = _times(request, "as_of")
    month, limit, page = request.query_params["month"], _number(request, "limit", 1000, 10_000), _number(request, "page", 1, 100_000)
    part = _part(request)
    await api_faults.hinder(month)
    known = [row for row in api_faults.rows(month) if row["recorded_at"] <= as_of and part.items() <= row.items()]
    pages, total = api_faults.pages(month, known, limit)
    sent = pages[page - 1] if page <= len(pages) else []
    data = [row | {name: row[name].isoformat() for name in ("time_hour", "recorded_at")} for row in sent]
    return Answer({"data": data, "page": page, "pages": len(pages), "total": total})


async def changes(request: Request) -> JSONResponse:
    """How many of a month's rows were published after `after` and by `as_of`."""
    after, as_of = _times(request, "after", "as_of")
    month, part = request.query_params["month"], _part(request)
    await api_faults.hinder(month)
    return Answer({"rows": sum(after < row["recorded_at"] <= as_of and part.items() <= row.items() for row in api_faults.rows(month))})


async def health(_: Request) -> JSONResponse:
    return JSONResponse({"months": len(weather())})


async def metrics(_: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class Counted:
    """ASGI middleware: how many answers there were, by route and status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = scope["path"] in {route.path for route in ROUTES}
                ANSWERS.labels(scope["path"] if known else "other", message["status"]).inc()
            await send(message)

        await self.app(scope, receive, counting)


ROUTES = [
    Route("/weather", observations),
    Route("/weather/changes", changes),
    Route("/health", health),
    Route("/metrics", metrics),
]
app = Starlette(routes=ROUTES, middleware=[Middleware(Counted)])
