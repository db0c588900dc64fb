"""The one definition of a feature row: names, order, encodings, missing values. Training, serving and monitoring all use it.

dbt makes the same numbers offline (dbt_project/models/marts/features.sql); from_request makes them online.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
NO_WEATHER: tuple[float | None, ...] = (None,) * len(WEATHER)
PLANNED = ["planned_clock_minutes", "departures_hour", "departures_day", "leg", "minutes_since_leg"]
FEATURES = [
    "carrier_code", "origin_code", "dest_code", "minute_of_day", "day_of_week", "days_from_holiday", "distance", *PLANNED,
    "plane_built", "plane_seats", *WEATHER, "route_air_time",
]  # fmt: skip
# their numbers are names, not sizes
CODES = ["carrier_code", "origin_code", "dest_code", "day_of_week"]
# what `segments` needs of a row
SEGMENTED = ["origin_code", "carrier_code"]
# a carrier with a smaller share of the rows is a small one
LARGE_SHARE = 0.05
MOST_DAYS = 7
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MISSING = float("nan")


class Instance(Protocol):
    """What is asked about, as far as features need it."""

    @property
    def carrier(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def dest(self) -> str: ...
    @property
    def distance(self) -> float | None: ...


def row(values: Iterable[float | None]) -> list[float]:
    """The model's input, of the features' values in their order: what is not known is NaN."""
    return [MISSING if value is None else value for value in values]


@lru_cache(maxsize=10_000)
def code(letters: str) -> float:
    """The stable number of a short code like JFK or B6: its letters and digits read in base 37, what is neither counts 0."""
    number = 0
    for letter in letters:
        number = number * 37 + ALPHABET.find(letter) + 1
    return float(number)


def text(number: float) -> str:
    """The short code that `code` has made a number of; for letters and digits only."""
    letters, rest = "", int(number)
    while rest > 0:
        rest, place = divmod(rest, 37)
        letters = ALPHABET[place - 1] + letters
    return letters


def segments(rows: "np.ndarray[Any, np.dtype[np.float64]]", columns: Sequence[str] = FEATURES) -> dict[str, "np.ndarray[Any, np.dtype[np.str_]]"]:
    """{segmentation: the segment of each row}, for rows of these columns: by origin, and by the carrier's share of the rows."""
    import numpy as np

    origins, place = np.unique(rows[:, columns.index("origin_code")], return_inverse=True)
    _, carrier, counts = np.unique(rows[:, columns.index("carrier_code")], return_inverse=True, return_counts=True)
    large = counts[carrier] >= LARGE_SHARE * len(rows)
    return {"origin": np.array([text(origin) for origin in origins], dtype=str)[place], "carriers": np.where(large, "large", "small")}


def days_from_holiday(day: date, holidays: Sequence[date]) -> float:
    """Days to the nearest of the holidays, which are in order, before or after it; at most MOST_DAYS, wherever the list ends."""
    place = bisect_left(holidays, day)
    return float(min([MOST_DAYS, *(abs((day - holiday).days) for holiday in holidays[max(place - 1, 0) : place + 1])]))


def calendar(departure: datetime, holidays: Sequence[date]) -> tuple[float, float, float]:
    """The features that only the time of departure, which is local, decides: minute of the day, day of the week, days from a holiday."""
    return float(departure.hour * 60 + departure.minute), float(departure.isoweekday()), days_from_holiday(departure.date(), holidays)


def from_request(
    asked: Instance,
    calendar: tuple[float, float, float],
    plane: tuple[float | None, float | None],
    route: tuple[int, int] | None,
    planned: Sequence[float | None],
    weather: Sequence[float | None] = NO_WEATHER,
) -> list[float | None]:
    """The values of FEATURES of one asked-for instance, None for what is not known.

    calendar: of its departure; plane: (year built, seats); route: (flights, minutes in the air) as of the history key; planned: the values of PLANNED;
    weather: those of WEATHER.
    """
    codes = code(asked.carrier), code(asked.origin), code(asked.dest)
    return [*codes, *calendar, asked.distance, *planned, *plane, *weather, route[1] / route[0] if route and route[0] else None]
