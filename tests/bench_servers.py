"""What the service is measured against, each as one would write it by hand: `python -m tests.bench_servers plain|constant PORT`."""

import sys
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import lightgbm as lgb
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field

from flightdeck import deployments, registry
from flightdeck.warehouse import connect
from ml.features import NO_WEATHER, row
from serving.reference import Reference


class Weather(BaseModel):
    temp: float | None = None
    dewp: float | None = None
    humid: float | None = None
    wind_dir: float | None = None
    wind_speed: float | None = None
    wind_gust: float | None = None
    precip: float | None = None
    pressure: float | None = None
    visib: float | None = None


class Instance(BaseModel):
    carrier: Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$")]
    flight: Annotated[int, Field(ge=1, le=9999)]
    origin: Literal["EWR", "JFK", "LGA"]
    dest: Annotated[str, Field(pattern=r"^[A-Z0-9]{3}$")]
    scheduled_departure: datetime
    scheduled_arrival: datetime | None = None
    tailnum: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,8}$")] | None = None
    distance: Annotated[float, Field(ge=10, le=12_500)] | None = None
    weather: Weather | None = None


class PredictRequest(BaseModel):
    instances: Annotated[list[Instance], Field(min_length=1, max_length=10_000)]
    subject: Annotated[str, Field(max_length=200)] | None = None


class Prediction(BaseModel):
    prediction_id: str
    probability: float
    label: bool


class PredictAnswer(BaseModel):
    model_version: int
    predictions: list[Prediction]


def plain() -> FastAPI:
    """FastAPI, pydantic, Booster.predict on one thread; the same features by the same function; no prediction log, no metrics."""
    champion = deployments.champion()
    assert champion
    booster, version = lgb.Booster(model_str=registry.model(champion["release"]).decode()), champion["model_version"]
    with connect("serving") as connection:
        reference = Reference.read(connection)
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: PredictRequest) -> PredictAnswer:
        weather = [tuple(each.weather.model_dump().values()) if each.weather else NO_WEATHER for each in request.instances]
        asked = [reference.with_weather(each, observed, 0) for each, observed in zip(request.instances, weather, strict=True)]  # type: ignore[arg-type]
        rows = [row(each.values) for each in asked]
        found = booster.predict(rows, num_threads=1).tolist()
        return PredictAnswer(model_version=version, predictions=[Prediction(prediction_id=str(uuid4()), probability=p, label=p >= 0.5) for p in found])

    return app


async def constant(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do: read the body, send a constant."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    content = b'{"model_version":1,"predictions":[{"prediction_id":"00000000-0000-4000-a000-000000000000","probability":0.5,"label":true}]}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(constant if sys.argv[1] == "constant" else plain(), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
