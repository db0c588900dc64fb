"""The weather stations' REST API: GET /weather?month=2013-01&as_of=2013-02-03T05:00:00Z&page=1&limit=1000."""

from datetime import datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from world.data import weather


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    # Python refuses to read thousands of digits, with an error of its own
    if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise HTTPException(400, f"{name} must be a number from 1 to {most}")
    return int(text)


async def observations(request: Request) -> JSONResponse:
    """One page of a month's observations that were published by `as_of`."""
    try:
        as_of = datetime.fromisoformat(request.query_params["as_of"])
        rows = weather()[request.query_params["month"]]
    except (KeyError, ValueError):
        raise HTTPException(400, "month (YYYY-MM, of 2013) and as_of (ISO 8601, with its zone) are needed") from None
    if as_of.tzinfo is None:
        raise HTTPException(400, "as_of needs its zone, like 2013-02-03T05:00:00Z")
    limit, page = _number(request, "limit", 1000, 10_000), _number(request, "page", 1, 100_000)
    known = [row | {name: row[name].isoformat() for name in ("time_hour", "recorded_at")} for row in rows if row["recorded_at"] <= as_of]
    pages = max(1, -(-len(known) // limit))
    return JSONResponse({"data": known[(page - 1) * limit : page * limit], "page": page, "pages": pages, "total": len(known)})


async def health(_: Request) -> JSONResponse:
    return JSONResponse({"months": len(weather())})


app = Starlette(routes=[Route("/weather", observations), Route("/health", health)])
