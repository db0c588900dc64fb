"""What sources really do: which faults there are, which rows one falls on, and when what comes late becomes known."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flightdeck.settings import settings

WHAT = {
    "duplicate_rows": "exact copies of some rows",
    "repeated_page": "page 2 brings page 1's rows again: some come twice, others never",
    "duplicate_page": "one page more, with the rows of the last; the total counts them",
    "late_rows": "some rows become known ten days after the month has closed",
    "corrections": "of some rows a second version with another value, ten days after the closing",
    "corrections_out_of_order": "of some rows two more versions, ten and eleven days after the closing, the newer one first",
    "truncated_file": "planes.csv and the month's timetable lose their second half, in the middle of a line",
    "errors": "some requests for the month answer 503; the same one again may succeed",
    "outage": "every request for the month answers 503",
    "slow": "every answer for the month takes some seconds",
    "new_column": "a column more: gate (database, timetable), cloud_cover (api), owner (planes.csv)",
    "lost_column": "a column less: tailnum (database, timetable), visib (api), seats (planes.csv)",
    "renamed_column": "tailnum is tail_number (database, timetable), visib is visibility (api), seats is seat_count (planes.csv)",
    "retyped_column": "text for numbers: distance (database, timetable), temp like '39.02 F' (api), seats like 'five-five' (planes.csv)",
    "unit_change": "all the month's distances in km (database), temperatures in degrees Celsius (api)",
    "poison": "a value that cannot be, in some rows; --kind says which",
}
KINDS = {
    "nan": "the JSON token NaN as temp",
    "absurd": "a number beyond all sense",
    "bad_utf8": "bytes that are no UTF-8",
    "nul": "a NUL byte in a string",
    "huge": "a string of a megabyte, in each chosen row",
}


class Refused(RuntimeError):
    """A fault that cannot be had here and now; the message says why, and the cure."""


@dataclass(frozen=True)
class Fault:
    """One fault of one month."""

    name: str
    month: str
    percent: float = 1.0
    seed: int = 0
    kind: str | None = None
    seconds: float = 3.0
    file: str | None = None

    @property
    def label(self) -> str:
        """Its name, with the kind if it has kinds."""
        return f"{self.name} {self.kind}" if self.kind else self.name


def chosen(keys: Iterable[str], fault: Fault, month_rows: int) -> list[str]:
    """The keys that the fault falls on: its percentage of the month's rows, at least one; a higher percentage adds to a lower one's."""
    ordered = sorted(keys, key=lambda key: hashlib.sha256(f"{fault.seed}/{key}".encode()).digest())
    return ordered[: max(1, round(month_rows * fault.percent / 100))]


def closes(month: str) -> datetime:
    """When what is known of the month is complete, were it not for faults."""
    year, number = map(int, month.split("-"))
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZoneInfo(settings().timezone))
    return end.astimezone(UTC) + timedelta(hours=settings().close_after_hours)


def late(month: str) -> datetime:
    """Ten days after the month's closing."""
    return closes(month) + timedelta(days=10)
