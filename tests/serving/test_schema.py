"""What a request may hold: what is wrong is refused, and named."""

import json
import time
from typing import Any

import pytest

from expectations.suites import landing_weather
from ml.features import WEATHER
from serving.schema import MOST_INSTANCES, PURPOSES, RANGES, InvalidRequest, Weather, decode, openapi, usable

GOOD: dict[str, Any] = {
    "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00",
    "tailnum": "N14228", "distance": 1400, "weather": {"temp": 39.0},
}  # fmt: skip
DEEP = 50_000


def body(**changes: Any) -> bytes:
    """A request for one instance, changed."""
    return json.dumps({"instances": [GOOD | changes]}).encode()


def without(name: str) -> bytes:
    return json.dumps({"instances": [{key: value for key, value in GOOD.items() if key != name}]}).encode()


def literal(old: str, new: str) -> bytes:
    """The good request with a piece of its text replaced: what Python's writer would not write."""
    text = json.dumps({"instances": [GOOD], "subject": "somebody"})
    assert text.count(old) == 1
    return text.replace(old, new).encode()


REQUIRED = ["carrier", "flight", "origin", "dest", "scheduled_departure"]
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"]
FIELDS = {"instances[0].distance": "1400", "instances[0].weather.temp": "39.0", "instances[0].flight": "1545", "instances[0].carrier": '"UA"'}
WRONG: list[tuple[str, bytes, str]] = [
    *((f"{name} is missing", without(name), f"instances[0].{name}") for name in REQUIRED),
    *((f"{name} is null", body(**{name: None}), f"instances[0].{name}") for name in REQUIRED),
    *((f"{name} is a list", body(**{name: [1]}), f"instances[0].{name}") for name in GOOD),
    ("unknown field", body(gate="B12"), "instances[0].gate"),
    ("unknown weather", body(weather={"snow": 1}), "instances[0].weather.snow"),
    ("unknown at the top", json.dumps({"instances": [GOOD], "model": 1}).encode(), "model"),
    ("the second instance", json.dumps({"instances": [GOOD, GOOD | {"flight": 0}]}).encode(), "instances[1].flight"),
    *(
        (f"{name} = {value!r:.30}", body(**{name: value}), f"instances[0].{name}")
        for name, values in {
            "carrier": ["ua", "U", "UAL", "X" * 300, "ÜÄ", "ÙA", "U\0", "UA\n", "", 5],
            "flight": [-1, 0, 10_000, 10**30, 1.5, 1.0, True, "1545"],
            "origin": ["XXX", "ewr", "E\0R", "", 1],
            "dest": ["iah", "IAHX", "IAH\n", "I\0H", "", 1],
            "tailnum": ["", "N1\0", "N1\n", "n14228", "N" * 9],
            "distance": [1e308, -1, 0, 9.9, 12_500.1, "1400", True],
            "scheduled_departure": [
                "9999-01-01T00:00:00",
                "0001-01-01T00:00:00",
                "1899-12-31T23:59:00",
                "2100-01-01T00:00:00",
                "2015-02-30T05:00:00",
                "2015-02-03T05:15:00Z",
                "2015-02-03T05:15:00-05:00",
                "2015-02-03",
                "tomorrow",
                "",
                1422944100,
            ],
            "scheduled_arrival": ["x", "2015-02-03T05:15:00Z", 1],
            "weather": [[], "fine", 1],
        }.items()
        for value in values
    ),
    ("weather is text", body(weather={"temp": "hot"}), "instances[0].weather.temp"),
    *((f"{place} is {number}", literal(old, number), place) for place, old in FIELDS.items() for number in NUMBERS),
    ("subject is NaN", literal('"somebody"', "NaN"), "subject"),
    ("all required are null", body(**dict.fromkeys(REQUIRED)), "instances[0].carrier"),
    ("no instances", b"{}", "instances"),
    ("instances is empty", b'{"instances": []}', "instances"),
    ("instances is null", b'{"instances": null}', "instances"),
    ("instances is text", b'{"instances": "x"}', "instances"),
    ("instances is an object", b'{"instances": {}}', "instances"),
    ("an instance is null", b'{"instances": [null]}', "instances[0]"),
    ("an instance is a number", json.dumps({"instances": [GOOD, 5]}).encode(), "instances[1]"),
    ("too many", json.dumps({"instances": [GOOD] * (MOST_INSTANCES + 1)}).encode(), "instances"),
    ("subject is long", json.dumps({"instances": [GOOD], "subject": "a" * 201}).encode(), "subject"),
    ("subject with NUL", json.dumps({"instances": [GOOD], "subject": "a\0b"}).encode(), "subject"),
    ("subject is a number", json.dumps({"instances": [GOOD], "subject": 5}).encode(), "subject"),
    ("a key twice", literal('"carrier": "UA"', '"carrier": "UA", "carrier": 5'), "instances[0].carrier"),
    ("instances twice", literal('"subject": "somebody"', '"instances": []'), "instances"),
    ("carrier is not UTF-8", literal("UA", "?").replace(b"?", b"\xff\xfe"), "instances[0].carrier"),
    ("nested in a field", literal('"UA"', "[" * DEEP + "]" * DEEP), "instances[0].carrier"),
    ("nested in an unknown field", b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}", "x"),
    ("nested with NaN", b'{"x": ' + b"[" * DEEP + b"NaN" + b"]" * DEEP + b"}", "x"),
    ("nested weather", literal("39.0", '{"temp": ' * DEEP + "1" + "}" * DEEP), "instances[0].weather.temp"),
]
# nothing in these can be named
MALFORMED: dict[str, bytes] = {
    "empty": b"", "blank": b"  ", "list": b"[]", "number": b"5", "text": b'"x"', "true": b"true", "null": b"null", "NaN": b"NaN",
    "unfinished": body()[:-5], "more behind": body() + b"x", "NUL behind": body() + b"\0", "NUL bytes": b"\0" * 100,
    "raw NUL in text": body().replace(b"UA", b"U\0"), "UTF-16": body().decode().encode("utf-16"), "byte order mark": b"\xef\xbb\xbf" + body(),
    "subject is not UTF-8": literal("somebody", "?").replace(b"?", b"\xff"), "half a surrogate": literal("somebody", "\\ud800"),
    "key is not UTF-8": b'{"\xff": 1', "leading zero": literal("1545", "01545"), "form": b"instances=1",
    "open brackets": b"[" * DEEP, "brackets": b"[" * DEEP + b"]" * DEEP,
}  # fmt: skip


@pytest.mark.parametrize(("content", "field"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_named(content: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(content)
    assert refused.value.field == field
    assert refused.value.message


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(content)
    assert refused.value.field == ""
    assert refused.value.message


def test_a_number_that_is_none_is_called_so() -> None:
    with pytest.raises(InvalidRequest, match=r"distance: Expected `float \| null`, got `-Infinity`"):
        decode(literal("1400", "-Infinity"))


@pytest.mark.parametrize("content", [b"[" + b"NaN," * 1_000_000, b'{"subject": NaN, "x": ' + b"9" * 1_000_000 + b"}", b'{"instances":' + b"[" * 4_000_000])
def test_large_nonsense_is_refused_at_once(content: bytes) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidRequest):
        decode(content)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "content",
    [
        body(),
        *(body(**{name: None}) for name in ("tailnum", "distance", "weather", "scheduled_arrival")),
        *(without(name) for name in ("tailnum", "distance", "weather")),
        # local times that come twice, and that never come
        body(scheduled_departure="2013-11-03T01:30:00"),
        body(scheduled_departure="2013-03-10T02:30:00"),
        body(scheduled_departure="1900-01-01T00:00:00"),
        body(scheduled_departure="2099-12-31T23:59:00"),
        literal("39.0", "-0"),
        literal("39.0", "1e-400"),
        json.dumps({"instances": [GOOD], "subject": "é" * 200}).encode(),
        json.dumps({"instances": [GOOD], "subject": None}).encode(),
    ],
)
def test_what_may_be_asked(content: bytes) -> None:
    assert len(decode(content).instances) == 1


def test_as_many_as_allowed_are_taken() -> None:
    assert len(decode(json.dumps({"instances": [GOOD] * MOST_INSTANCES}).encode()).instances) == MOST_INSTANCES


def test_weather_out_of_range_is_missing_and_counted() -> None:
    def found(weather: Weather | None) -> tuple[dict[str, float | None], int]:
        values, out = usable(weather)
        return {name: value for name, value in zip(WEATHER, values, strict=True) if value is not None}, out

    assert found(Weather(temp=39.0, wind_speed=1048.0, humid=-1.0, pressure=1e308)) == ({"temp": 39.0}, 3)
    assert found(Weather(temp=-60.0, precip=0.0)) == ({"temp": -60.0, "precip": 0.0}, 0)
    assert found(Weather()) == found(None) == ({}, 0)
    # in the features' order, which is how they get there
    assert list(Weather.__struct_fields__) == WEATHER


def test_ranges_that_the_landing_suite_also_has_are_the_same() -> None:
    bounds = {
        expectation.column: (expectation.min_value, expectation.max_value)
        for expectation in landing_weather.EXPECTATIONS
        if getattr(expectation, "column", None) in RANGES
    }
    assert len(bounds) >= 6
    assert bounds == {name: RANGES[name] for name in bounds}


def test_the_description_names_every_field_and_its_examples_are_accepted() -> None:
    schemas = openapi()["components"]["schemas"]
    assert set(schemas["PredictRequest"]["properties"]) == {"instances", "subject"}
    assert set(GOOD) <= set(schemas["Instance"]["properties"])
    assert sorted(schemas["Instance"]["required"]) == sorted(REQUIRED)
    examples = {name: part["examples"][0] for name, part in schemas["Instance"]["properties"].items() if "examples" in part}
    assert examples
    assert decode(body(**examples)).instances[0].carrier == examples["carrier"]


def test_the_description_allows_the_purposes_that_the_service_does_and_refers_to_what_it_has() -> None:
    described = openapi()
    headers = {header["name"]: header["schema"] for header in described["paths"]["/predict"]["post"]["parameters"]}
    assert headers["x-purpose"]["enum"] == list(PURPOSES)
    used = {piece.split('"')[0] for piece in json.dumps(described).split("#/components/schemas/")[1:]}
    assert {"PredictRequest", "PredictAnswer", "Instance"} <= used <= set(described["components"]["schemas"])
