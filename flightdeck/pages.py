"""The service `reports`: the static site that the stages write, and what the warehouse knows as /metrics. `python -m flightdeck.pages`."""

import asyncio

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flightdeck import logs
from flightdeck.exporter import registry
from flightdeck.settings import settings
from flightdeck.token import Token

WAREHOUSE = registry()


async def metrics(_: Request) -> Response:
    return Response(await asyncio.to_thread(generate_latest, WAREHOUSE), media_type=CONTENT_TYPE_LATEST)


async def health(_: Request) -> Response:
    """Healthy once there is something to read: the start page is written before any service starts."""
    there = (settings().reports / "index.html").exists()
    return PlainTextResponse("ok" if there else f"no start page in {settings().reports}", 200 if there else 503)


def site() -> Starlette:
    settings().reports.mkdir(exist_ok=True)
    pages = StaticFiles(directory=settings().reports, html=True)
    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics), Mount("/", pages)], middleware=[Middleware(Token)])


if __name__ == "__main__":
    uvicorn.run(site(), host=settings().bind, port=settings().port_reports, access_log=False, log_config=logs.uvicorn())
