"""The rules over several models: each one passes on what was built, and a fault that is planted there turns it red."""

import json
from collections.abc import Iterator

import pytest

from flightdeck.settings import ROOT
from flightdeck.transform import BuildFailed, run
from flightdeck.warehouse import Row, connect
from tests.dbt_project.months import five_flights

PLANTED = [
    ("marts.features", "update marts.features set history_key = partition_key where {one}", "features_know_no_later_partition"),
    ("intermediate.int_flights_joined", "update intermediate.int_flights_joined set observed_at = scheduled_departure where {one}", "weather_is_two_hours_old"),
    ("marts.labels", "delete from marts.labels where {one}", "every_flight_has_features_and_a_label"),
    (
        "intermediate.int_flights_joined",
        "update intermediate.int_flights_joined set recorded_at = departure_hour where {one}",
        "weather_was_published_before_asking",
    ),
    ("raw.timetable", "update raw.timetable set published_at = '2014-12-02' where {one}", "timetable_is_published_before_its_partition"),
    ("marts.labels", "update marts.labels set known_at = '2014-12-01' where {one}", "labels_are_known_after_departure"),
    (
        "marts.planned_departures",
        "update marts.planned_departures set departures_hour = departures_hour + 1 where {one}",
        "planned_windows_equal_a_slow_reference",
    ),
    (
        "marts.planned_departures",
        "update marts.planned_departures set departures_day = departures_day - 1 where {one}",
        "planned_windows_equal_a_slow_reference",
    ),
    ("marts.planned_departures", "update marts.planned_departures set leg = leg + 1 where {one}", "planned_windows_equal_a_slow_reference"),
    ("marts.planned_departures", "update marts.planned_departures set minutes_since_leg = 0 where {one}", "planned_windows_equal_a_slow_reference"),
    ("marts.route_history", "update marts.route_history set flights = flights + 1 where {partition}", "route_history_equals_a_slow_reference"),
    ("marts.features", "insert into marts.features select * from marts.features where {one}", "every_flight_has_features_and_a_label"),
]


@pytest.fixture(scope="module")
def built(real: Row) -> Iterator[str]:
    """A partition of five flights, in which every rule holds; each test leaves it as it was."""
    with five_flights("2014-12", 395) as key:
        held = _test("test_type:singular", key)
        assert {held[name] for _, _, name in PLANTED} == {"pass"}
        yield key


def _test(select: str, key: str) -> dict[str, str]:
    results = run("test", "--select", select, "--no-write-json", "--vars", json.dumps({"partition": key}))
    return {result.node.name: str(result.status) for result in results}


@pytest.mark.parametrize(("table", "plant", "name"), PLANTED)
def test_a_planted_fault_is_caught(built: str, table: str, plant: str, name: str) -> None:
    partition = f"partition_key = '{built}'"
    one = f"{partition} and entity_id = (select min(entity_id) from marts.features where {partition})"
    with connect() as connection:
        connection.execute(f"create temp table kept as select * from {table} where {partition}".encode())
        assert connection.execute(plant.format(one=one, partition=partition).encode()).rowcount > 0
        try:
            with pytest.raises(BuildFailed, match=name):
                _test(name, built)
        finally:
            connection.execute(f"delete from {table} where {partition}".encode())
            connection.execute(f"insert into {table} select * from kept".encode())


def test_each_rule_has_its_planted_fault() -> None:
    tests = ROOT / "dbt_project/tests"
    assert {path.stem for path in [*tests.glob("*.sql"), *tests.glob("plans/*.sql")]} == {name for _, _, name in PLANTED}
