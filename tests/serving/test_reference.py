"""What is looked up for a request: history as of the newest partition published before its own, never later; and what was planned."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from flightdeck import ledger
from flightdeck.warehouse import Connection, connect, query
from ml.features import FEATURES, PLANNED
from serving.reference import Asked, Reference
from serving.schema import Instance, decode
from tests.dbt_project.months import REAL, real_months
from world.requests import batches

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


def features(asked: Asked) -> dict[str, Any]:
    return dict(zip(FEATURES, asked.values, strict=True))


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
    assert features(asked)["route_air_time"] == minutes


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
    found = features(reference.ask(instance("1996-02", tailnum)))
    assert (found["plane_built"], found["plane_seats"]) == (built, seats)


PLANNED_AT = "1996-05-09T09:00:00Z/UA/7"  # 05:15 in New York


@pytest.fixture
def plan(database: str) -> Iterator[ledger.Attempt]:
    """The built plan of a month, of one departure, whose leg is not known."""
    with connect() as connection:
        connection.execute("insert into marts.planned_departures values (%s, '1996-05', 240, 20, 300, null, null)", (PLANNED_AT,))
        attempt = ledger.begin("plan", "1996-05")
        attempt.record("done")
        yield attempt
        connection.execute("delete from marts.planned_departures where partition_key = '1996-05'")


def _read(before: Reference | None = None) -> Reference:
    with connect("serving") as own:
        return Reference.read(own, before)


def test_what_was_planned_is_looked_up(plan: ledger.Attempt) -> None:
    found = features(_read().ask(instance("1996-05")))
    assert [found[name] for name in PLANNED] == [240.0, 20.0, 300.0, None, None]


@pytest.mark.parametrize(("month", "flight"), [("1996-05", 6), ("1996-05", 8), ("1996-06", 7)])
def test_what_was_not_planned_has_no_plan(plan: ledger.Attempt, month: str, flight: int) -> None:
    asked = instance(month)
    asked.flight = flight
    found = features(_read().ask(asked))
    assert [found[name] for name in PLANNED] == [None] * len(PLANNED)


def test_a_plan_is_read_again_only_when_it_was_built_again(plan: ledger.Attempt) -> None:
    first = _read()
    query("update marts.planned_departures set departures_hour = 21 where entity_id = %s returning 1", PLANNED_AT)
    again = _read(first)
    assert again.plans["1996-05"] is first.plans["1996-05"]
    ledger.begin("plan", "1996-05").record("done")
    revised = _read(again)
    assert features(revised.ask(instance("1996-05")))["departures_hour"] == 21.0
    assert {key for key in revised.plans if revised.plans[key] is not again.plans[key]} == {"1996-05"}


def test_a_plan_that_is_being_built_is_not_read(plan: ledger.Attempt) -> None:
    with connect() as connection:
        connection.execute("insert into marts.planned_departures values ('x', '1996-06', 240, 20, 300, 1, null)")
        ledger.begin("plan", "1996-06")
        assert "1996-06" not in _read().plans
        connection.execute("delete from marts.planned_departures where partition_key = '1996-06'")


def test_online_features_equal_the_marts_of_a_real_month(database: str) -> None:
    """Random flights, asked for as they were; value for value, missing ones included."""
    sent = [instance for _, group in batches(REAL) for instance in group]
    chosen = decode(json.dumps({"instances": random.Random(2013).sample(sent, 3000)}).encode()).instances
    with real_months():
        online = {asked.entity_id: asked for asked in map(_read().ask, chosen)}
        rows = query("select * from marts.features where entity_id = any(%s)", list(online))
        assert {row["history_key"] for row in rows} == {asked.history_key for asked in online.values()} == {max(ledger.published(before=REAL))}
    assert len(rows) == len(online) == 3000
    assert [row["entity_id"] for row in rows if {name: row[name] for name in FEATURES} != features(online[row["entity_id"]])] == []
    for name in FEATURES:
        assert any(row[name] is not None for row in rows), name
