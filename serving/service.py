"""The BentoML service: `bentoml serve serving.service:Service`."""

import gc

import bentoml
from uvicorn.config import HTTP_PROTOCOLS

from flightdeck import logs
from flightdeck.settings import settings
from serving.app import Foremost, askers, follower, shadow, spool, window
from serving.routes import app

# BentoML's server asks for the default
HTTP_PROTOCOLS["auto"] = "serving.connections:Bounded"


@bentoml.service(
    name="flightdeck",
    workers=settings().serving_workers,
    traffic={"timeout": 10},
    logging={"access": {"enabled": False}},
    # the routes have their own
    metrics={"enabled": False},
    # spans cost a quarter of a request's time, even when none is sampled
    tracing={"excluded_urls": "predict,v2,health,ready"},
)
@bentoml.asgi_app(app, path="/", name="flightdeck")
class Service:
    def __init__(self) -> None:
        logs.as_json()
        follower.start()
        spool.start()
        askers.start()
        shadow.start()
        window.start()
        # what has been imported stays: collecting garbage among it is what the slowest requests waited for
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

    @bentoml.on_shutdown
    def stop(self) -> None:
        follower.stop()
        window.stop()
        shadow.stop()
        spool.stop()
        askers.stop()


Service.add_asgi_middleware(Foremost)  # type: ignore[attr-defined]
