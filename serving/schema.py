"""What POST /predict takes and gives, decoded and validated in one step; an error names the field that is wrong."""

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta, Struct

from flightdeck.parameters import parameters
from ml.features import FEATURES, NO_WEATHER, WEATHER

MOST_BYTES = 5_000_000
MOST_INSTANCES = 10_000
YEARS = range(1900, 2100)
PURPOSES = ("live", "replay", "probe", "drill")
# JSON Schema's date-time has a zone, and a local time has none
LOCAL = {
    "format": "local-date-time",
    "pattern": "^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?$",
}


class InvalidRequest(ValueError):
    """A request that cannot be answered: `field` is the path of what is wrong, as in instances[0].carrier."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message = field, message


class Weather(Struct, forbid_unknown_fields=True):
    """The origin's newest observation at least two hours before departure. What is out of range counts as missing."""

    temp: float | None = None
    dewp: float | None = None
    humid: float | None = None
    wind_dir: float | None = None
    wind_speed: float | None = None
    wind_gust: float | None = None
    precip: float | None = None
    pressure: float | None = None
    visib: float | None = None


class Instance(Struct, forbid_unknown_fields=True):
    """One flight; times are local and without a zone."""

    # Python's $ also matches before a line's end, which JSON Schema's does not: hence what follows it
    carrier: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2}$(?!\n)", examples=["UA"])]
    flight: Annotated[int, Meta(ge=1, le=9999, examples=[1545])]
    origin: Literal["EWR", "JFK", "LGA"]
    dest: Annotated[str, Meta(pattern=r"^[A-Z0-9]{3}$(?!\n)", examples=["IAH"])]
    scheduled_departure: Annotated[datetime, Meta(tz=False, extra_json_schema=LOCAL, examples=["2013-04-01T05:15:00"])]
    scheduled_arrival: Annotated[datetime, Meta(tz=False, extra_json_schema=LOCAL)] | None = None
    tailnum: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,8}$(?!\n)")] | None = None
    distance: Annotated[float, Meta(ge=10, le=12_500)] | None = None
    weather: Weather | None = None


class PredictRequest(Struct, forbid_unknown_fields=True):
    instances: Annotated[list[Instance], Meta(min_length=1, max_length=MOST_INSTANCES)]
    subject: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$")] | None = None  # PostgreSQL keeps no NUL


class Prediction(Struct):
    prediction_id: str
    probability: float
    label: bool


class PredictAnswer(Struct):
    model_version: int
    predictions: list[Prediction]


class Options(Struct):
    """Of a tensor that travels behind the JSON: its size in bytes; of a wanted output: whether it should."""

    binary_data_size: int | None = None
    binary_data: bool | None = None
    binary_data_output: bool = False


class Tensor(Struct):
    """`features`: FP64, [n, number of features], null where a value is missing. `entity_id`: BYTES, [n]."""

    name: Literal["features", "entity_id"]
    shape: list[int]
    datatype: Literal["FP64", "BYTES"]
    data: list[Any] | None = None
    parameters: Options = msgspec.field(default_factory=Options)


class Wanted(Struct):
    name: Literal["probability", "label", "prediction_id"]
    parameters: Options = msgspec.field(default_factory=Options)


class InferRequest(Struct):
    """The Open Inference Protocol's; tensors that no model here has are refused."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: Options = msgspec.field(default_factory=Options)


class InferAnswer(Struct):
    model_name: str
    model_version: str
    outputs: list[dict[str, Any]]
    id: str | None = None


class Error(Struct):
    """`field` is the path of what is wrong, where there is one."""

    error: str
    field: str
    message: str


# °F, %, degrees, mph, inches, millibars, miles; the same limits as expectations/suites/landing_weather.py
RANGES = {
    "temp": (-60, 130), "dewp": (-100, 130), "humid": (0, 100.5), "wind_dir": (0, 360), "wind_speed": (0, 253),
    "wind_gust": (0, 253), "precip": (0, 20), "pressure": (870, 1085), "visib": (0, 100),
}  # fmt: skip
# in the order of the fields
LIMITS = [RANGES[name] for name in WEATHER]
DECODER = msgspec.json.Decoder(PredictRequest)
Kind = TypeVar("Kind")
# objects of types with these names, which no field takes, subject neither: "Expected `float`, got `NaN`"
NO_NUMBERS = {name: type(name, (), {})() for name in ("NaN", "Infinity", "-Infinity")}


def read(decoder: msgspec.json.Decoder[Kind], body: bytes) -> Kind:
    """What `body` holds, as the decoder's type; raises InvalidRequest."""
    try:
        return decoder.decode(body)
    except RecursionError:
        raise InvalidRequest("", "nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _named(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, decoder.type, error) from None


def decode(body: bytes) -> PredictRequest:
    """The request in `body`; raises InvalidRequest."""
    request = read(DECODER, body)
    for number, instance in enumerate(request.instances):
        if instance.scheduled_departure.year not in YEARS:
            raise InvalidRequest(f"instances[{number}].scheduled_departure", f"expected a year from {YEARS[0]} to {YEARS[-1]}")
    return request


def _named(error: msgspec.ValidationError) -> InvalidRequest:
    message, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    for kind in ("Object missing required field `", "Object contains unknown field `"):
        if message.startswith(kind):
            name = message.removeprefix(kind).rstrip("`")
            field = f"{field}.{name}" if field else name
    return InvalidRequest(field, message)


def _malformed(body: bytes, kind: Any, error: msgspec.DecodeError | UnicodeDecodeError) -> InvalidRequest:
    """JSON has no NaN or Infinity, but Python's own writer emits them: then the field can still be named, as it can where text is not UTF-8."""
    try:
        lenient = json.loads(body.decode(errors="replace"), parse_constant=NO_NUMBERS.get)
        msgspec.convert(lenient, kind)
    except msgspec.ValidationError as wrong:
        return _named(wrong)
    except (ValueError, RecursionError):
        pass
    return InvalidRequest("", f"not JSON: {error}")


def usable(weather: Weather | None) -> tuple[tuple[float | None, ...], int]:
    """(the observation's values, None where there is none within range, how many were out of it)."""
    return within_range(msgspec.structs.astuple(weather)) if weather else (NO_WEATHER, 0)


@lru_cache(maxsize=5000)
def within_range(values: tuple[float | None, ...]) -> tuple[tuple[float | None, ...], int]:
    """The same, of the values in the order of Weather's fields. Many requests come with one observation."""
    found = tuple(value if value is not None and low <= value <= high else None for (low, high), value in zip(LIMITS, values, strict=True))
    return found, found.count(None) - values.count(None)


def openapi() -> dict[str, Any]:
    """openapi.yaml with the schemas of the types above, as the service's page shows it."""
    text = Path(__file__).with_name("openapi.yaml").read_text()
    # a row of the example says nothing but its length
    for name, value in {"MODEL": parameters()["model"]["name"], "FEATURES": str(len(FEATURES)), "ROW": json.dumps([None] * len(FEATURES))}.items():
        text = text.replace(name, value)
    description: dict[str, Any] = yaml.safe_load(text)
    _, schemas = msgspec.json.schema_components([PredictRequest, PredictAnswer, InferRequest, InferAnswer, Error], ref_template="#/components/schemas/{name}")
    return description | {"components": {"schemas": schemas}}
