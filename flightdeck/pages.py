"""The service `reports`: the static site that the stages write, alerts, and what the warehouse knows as /metrics. `python -m flightdeck.pages`."""

import asyncio

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flightdeck import incidents, logs
from flightdeck.exporter import registry
from flightdeck.settings import settings
from flightdeck.token import Token

WAREHOUSE = registry()


async def metrics(_: Request) -> Response:
    return Response(await asyncio.to_thread(generate_latest, WAREHOUSE), media_type=CONTENT_TYPE_LATEST)


async def alerts(_: Request) -> Response:
    return HTMLResponse(await asyncio.to_thread(incidents.page))


async def told(request: Request) -> Response:
    """Alertmanager's webhook. JSON by its content type only: a page of somebody else's in a browser cannot send that."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return PlainTextResponse("send application/json", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > incidents.MOST_BYTES:
            return PlainTextResponse(f"at most {incidents.MOST_BYTES} bytes", 413)
    try:
        return PlainTextResponse(f"{await asyncio.to_thread(incidents.take, body)} kept")
    except msgspec.DecodeError as error:
        return PlainTextResponse(f"not a message of Alertmanager's: {error}", 400)


async def health(_: Request) -> Response:
    """Healthy once there is something to read: the start page is written before any service starts."""
    there = (settings().reports / "index.html").exists()
    return PlainTextResponse("ok" if there else f"no start page in {settings().reports}", 200 if there else 503)


def site() -> Starlette:
    settings().reports.mkdir(exist_ok=True)
    pages = StaticFiles(directory=settings().reports, html=True)
    return Starlette(
        routes=[Route("/health", health), Route("/metrics", metrics), Route("/alerts", told, methods=["POST"]), Route("/alerts/", alerts), Mount("/", pages)],
        middleware=[Middleware(Token)],
    )


if __name__ == "__main__":
    uvicorn.run(site(), host=settings().bind, port=settings().port_reports, access_log=False, log_config=logs.uvicorn())
