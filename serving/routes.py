"""The service as an ASGI application: every route, and what it says to those that are none."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from serving import app as own
from serving import infer

MODEL = "/v2/models/{name}"
answering = infer.Infer()

app = Starlette(
    routes=[
        Route("/predict", own.predict, methods=["POST"]),
        Route("/v2", infer.server),
        Route("/v2/health/live", infer.live),
        Route("/v2/health/ready", own.ready),
        *(
            route
            for path in (MODEL, MODEL + "/versions/{version}")
            for route in (Route(path, infer.model), Route(path + "/ready", infer.model_ready), Route(path + "/infer", answering, methods=["POST"]))
        ),
        Route("/health", own.health),
        Route("/ready", own.ready),
        Route("/metrics", own.exposition),
        Route("/docs.json", own.description),
        Route("/", own.page),
    ],
    exception_handlers={HTTPException: own.refused},
)
