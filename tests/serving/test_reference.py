"""What is looked up for a request: history as of the newest partition published before its own, never later."""

import json
from collections.abc import Iterator

import pytest

from flightdeck import ledger
from flightdeck.warehouse import Connection, connect
from serving.reference import Reference
from serving.schema import Instance, decode

KEYS = ["1996-01", "1996-03"]


def instance(month: str, tailnum: str = "N1996") -> Instance:
    asked = {"carrier": "UA", "flight": 7, "origin": "EWR", "dest": "IAH", "tailnum": tailnum, "scheduled_departure": f"{month}-09T05:15:00"}
    return decode(json.dumps({"instances": [asked]}).encode()).instances[0]


@pytest.fixture(scope="module")
def history(database: str) -> Iterator[Connection]:
    """Two published partitions with the history of one route, and a plane; a third is built, and not published."""
    attempts = [ledger.begin("transform", key) for key in KEYS]
    with connect() as connection:
        for key, minutes in (("1996-01", 100), ("1996-02", 150), ("1996-03", 200)):
            connection.execute("insert into marts.route_history values (%s, 'EWR', 'IAH', 1, %s)", (key, minutes))
        connection.execute("insert into raw.planes (tailnum, year, seats, _dlt_load_id) values ('N1996', 1990, 182, 'test')")
        for attempt in attempts:
            attempt.record("published")
        yield connection
        for attempt in attempts:
            attempt.record("withdrawn")
        connection.execute("delete from marts.route_history where partition_key like '1996-%'")
        connection.execute("delete from raw.planes where tailnum = 'N1996'")


@pytest.fixture
def reference(history: Connection) -> Reference:
    with connect("serving") as own:
        return Reference.read(own)


@pytest.mark.parametrize(
    ("month", "key", "minutes"),
    [
        ("1996-01", None, None),  # its own partition is published, and does not count
        ("1996-02", "1996-01", 100.0),
        ("1996-03", "1996-01", 100.0),  # 1996-02 is not published
        ("1996-04", "1996-03", 200.0),
        ("1996-12", "1996-03", 200.0),
    ],
)
def test_history_is_as_of_the_newest_published_before(reference: Reference, month: str, key: str | None, minutes: float | None) -> None:
    asked = reference.ask(instance(month))
    assert asked.partition_key == month
    assert asked.history_key == key
    assert asked.features["route_air_time"] == minutes


def test_nothing_published_is_no_history() -> None:
    assert Reference({}, {}, []).ask(instance("1996-02")).history_key is None


def test_what_is_withdrawn_is_no_history(history: Connection, reference: Reference) -> None:
    attempt = ledger.begin("transform", "1996-03")
    attempt.record("withdrawn")
    with connect("serving") as own:
        assert Reference.read(own).ask(instance("1996-04")).history_key == "1996-01"
    attempt.record("published")
    with connect("serving") as own:
        assert Reference.read(own).ask(instance("1996-04")).history_key == "1996-03"


@pytest.mark.parametrize(("tailnum", "built", "seats"), [("N1996", 1990, 182), ("NOBODY", None, None)])
def test_a_plane_is_looked_up_and_an_unknown_one_is_missing(reference: Reference, tailnum: str, built: int | None, seats: int | None) -> None:
    features = reference.ask(instance("1996-02", tailnum)).features
    assert (features["plane_built"], features["plane_seats"]) == (built, seats)
