"""Partition keys: `YYYY-MM`, a calendar month in the settings' time zone."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flightdeck.settings import settings

KEY = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])")  # \d would also take the digits of other scripts


class InvalidPartition(ValueError):
    """A key or a range of keys that is not one; the message says what is expected."""


@dataclass(frozen=True)
class Partition:
    """A partition: local time from `start` (inclusive) to `end` (exclusive); `closes` is when its last facts are known."""

    key: str
    start: datetime
    end: datetime
    closes: datetime


def partition(key: str | None) -> Partition:
    """The partition of `key`; raises InvalidPartition for anything that is not a month."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise InvalidPartition(f"{key!r} is not a partition key; expected a month like 2013-01")
    zone = ZoneInfo(settings().timezone)
    year, month = map(int, key.split("-"))
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    closes = end.astimezone(ZoneInfo("UTC")) + timedelta(hours=settings().close_after_hours)
    return Partition(key, datetime(year, month, 1, tzinfo=zone), end, closes)


def following(key: str) -> str:
    """The key after this one."""
    return partition(key).end.strftime("%Y-%m")


def span(months: str) -> list[str]:
    """All keys of a range like 2013-01..2013-03, both ends included, in order; a single key is a range too."""
    first, dots, last = months.partition("..")
    last = last if dots else first
    start, end = partition(first), partition(last)
    if start.start > end.start:
        raise InvalidPartition(f"{first}..{last} runs backwards; put the earlier month first")
    keys = [start.key]
    while keys[-1] != end.key:
        keys.append(following(keys[-1]))
    return keys
