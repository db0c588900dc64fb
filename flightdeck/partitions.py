"""Partition keys: `YYYY-MM`, a calendar month in the settings' time zone; `YYYY-MM-DD` or `YYYY-MM-DDTHH` where the setting `partitions` says day or hour."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flightdeck.settings import settings

# what a grain is written as: the more of it, the finer; such a key; and the calendar fields that all rows of a partition have in common
FORMATS = {"month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}
EXAMPLES = {"month": "2013-01", "day": "2013-01-31", "hour": "2013-01-31T07"}
FIELDS = ("year", "month", "day", "hour")
KEY = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])(-[0-9]{2}(T[0-9]{2})?)?")  # \d would also take the digits of other scripts


class InvalidPartition(ValueError):
    """A key or a range of keys that is not one; the message says what is expected."""


@dataclass(frozen=True)
class Partition:
    """A partition: local time from `start` (inclusive) to `end` (exclusive); `closes` is when its last facts are known."""

    key: str
    start: datetime
    end: datetime
    closes: datetime

    @property
    def fields(self) -> dict[str, int]:
        """What the rows of the partition have in common of year, month, day and hour, on local clocks."""
        return {name: getattr(self.start, name) for name in FIELDS[: FIELDS.index(settings().partitions) + 1]}


def partition(key: str | None) -> Partition:
    """The partition of `key`; raises InvalidPartition for anything that is none of the setting's grain."""
    grain = settings().partitions
    try:
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise ValueError(key)
        local = datetime.strptime(key, FORMATS[grain])  # noqa: DTZ007 (its zone comes below)
    except ValueError:
        raise InvalidPartition(f"{key!r} is not a partition key; expected a {grain} like {EXAMPLES[grain]}") from None
    start, end = (each.replace(tzinfo=ZoneInfo(settings().timezone)) for each in (local, _next(local)))
    utc = ZoneInfo("UTC")
    if end.astimezone(utc) <= start.astimezone(utc):
        raise InvalidPartition(f"{key!r} is not a partition key; clocks in {settings().timezone} skipped that hour")
    return Partition(key, start, end, end.astimezone(utc) + timedelta(hours=settings().close_after_hours))


def _next(local: datetime) -> datetime:
    if settings().partitions == "month":
        return datetime(local.year + local.month // 12, local.month % 12 + 1, 1)  # noqa: DTZ001
    return local + timedelta(**{f"{settings().partitions}s": 1})


def key_of(local: datetime) -> str:
    """The key of the partition that a local time is in."""
    return local.strftime(FORMATS[settings().partitions])


def following(key: str) -> str:
    """The key after this one."""
    # an hour that clocks skip ends before it begins: what follows is the next one that there is
    return key_of(partition(key).end.astimezone(ZoneInfo("UTC")).astimezone(ZoneInfo(settings().timezone)))


def looking_back(key: str, later: list[str], hours: int) -> list[str]:
    """Of partitions after `key`, in order: the next one, and those that begin less than so many hours after `key` has ended."""
    until = partition(key).end.astimezone(ZoneInfo("UTC")) + timedelta(hours=hours)
    return [each for each in later if each == later[0] or partition(each).start.astimezone(ZoneInfo("UTC")) < until]


def span(keys: str) -> list[str]:
    """All keys of a range like 2013-01..2013-03, both ends included, in order; a single key is a range too."""
    first, dots, last = keys.partition("..")
    last = last if dots else first
    start, end = partition(first), partition(last)
    if start.start > end.start:
        raise InvalidPartition(f"{first}..{last} runs backwards; put the earlier {settings().partitions} first")
    found = [start.key]
    while found[-1] != end.key:
        found.append(following(found[-1]))
    return found
