"""Faults of the real data: each is counted, and the rows flow on."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow.compute as pc
import pyarrow.csv

from flightdeck.settings import ROOT
from flightdeck.warehouse import Row
from tests.dbt_project.months import REAL
from world.data import NULLS, flights, folder, weather

ZONE = ZoneInfo("America/New_York")


def _expected() -> dict[str, int]:
    """The same counts from the source's own files."""
    rows = flights().filter(pc.equal(flights()["month"], int(REAL[-2:]))).to_pylist()
    planes, airports = (set(pyarrow.csv.read_csv(folder() / f"{name}.csv", convert_options=NULLS)[0].to_pylist()) for name in ("planes", "airports"))
    numbers = Counter((row["day"], row["carrier"], row["flight"]) for row in rows)
    observations = weather()[REAL]
    observed = {(row["origin"], row["time_hour"]) for row in observations}
    local = Counter((row["origin"], row["day"], row["hour"]) for row in observations)
    start, end = (datetime(2013, month, 1, tzinfo=ZONE).astimezone(UTC) for month in (11, 12))
    hours = [start + timedelta(hours=number) for number in range(int((end - start).total_seconds()) // 3600)]
    return {
        "flights_cancelled": sum(row["dep_time"] is None for row in rows),
        "flights_without_an_arrival_delay": sum(row["arr_delay"] is None for row in rows),
        "flights_without_a_tail_number": sum(row["tailnum"] is None for row in rows),
        "flights_of_unknown_aircraft": sum(row["tailnum"] not in planes for row in rows),
        "flights_to_airports_not_in_the_registry": sum(row["dest"] not in airports for row in rows),
        "flight_numbers_repeated_in_a_day": sum(count > 1 for count in numbers.values()),
        "flights_without_weather_of_their_hour": sum((row["origin"], row["time_hour"].replace(tzinfo=UTC)) not in observed for row in rows),
        "weather_hours_missing": sum((station, hour) not in observed for station in ("EWR", "JFK", "LGA") for hour in hours),
        "weather_hours_repeated": sum(count > 1 for count in local.values()),
    }


def test_each_fault_of_a_real_month_is_counted_in_the_ledger(real: Row) -> None:
    expected = _expected()
    assert expected["weather_hours_repeated"] == 3
    assert expected["flights_of_unknown_aircraft"] > 3000
    assert real["facts"]["warnings"] == {name: count for name, count in expected.items() if count}


def test_what_is_counted_is_a_test_each(real: Row) -> None:
    counting = {path.stem for path in (ROOT / "dbt_project/tests/counted").glob("*.sql")}
    assert set(real["facts"]["warnings"]) < counting
    assert counting - set(_expected()) == {"flights_without_weather", "flights_missing_from_the_timetable"}
