"""The BentoML service: `bentoml serve serving.service:Service`."""

import bentoml

from flightdeck import logs
from flightdeck.token import Token
from serving.app import app, follower


@bentoml.service(
    name="flightdeck",
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    # spans cost a quarter of a request's time, even when none is sampled
    tracing={"excluded_urls": "predict,health,ready"},
)
@bentoml.asgi_app(app, path="/", name="flightdeck")
class Service:
    def __init__(self) -> None:
        logs.as_json()
        follower.start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        follower.stop()


# around all of it, BentoML's own routes too
Service.add_asgi_middleware(Token)  # type: ignore[attr-defined]
