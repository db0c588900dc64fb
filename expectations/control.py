"""Control limits: which values of a profile are unusual, by its own history. Pure functions; only what is earlier than a value judges it."""

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from statistics import fmean, median
from typing import Any

import yaml

from expectations.profile import Profile
from flightdeck.settings import ROOT

# Shewhart's constants for single values: three standard deviations, from the mean of the moving ranges of two
INDIVIDUALS, MOVING_RANGE = 2.66, 3.267
# metrics that cannot be below 0, so neither are their limits
COUNTS = ("rows", "null_rate:", "share:", "distinct:")


class ControlError(ValueError):
    """control.yml says something that cannot be followed; the message names the place."""


@dataclass(frozen=True)
class Rule:
    """What control.yml says of a metric."""

    absolute: float = 0.0
    relative: float = 0.0
    widen: float = 1.0
    since: str = ""
    then: str = "warn"

    def floor(self, usual: float) -> float:
        return max(self.absolute, self.relative * abs(usual))


@dataclass(frozen=True)
class Days:
    """How control.yml wants days judged."""

    weeks: int
    least: int
    trim: float
    reach: float


@dataclass(frozen=True)
class Judged:
    """A value and its limits; without limits the history is too short, and nobody can say whether the value is usual."""

    metric: str
    key: str
    day: date | None
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def excess(self) -> float:
        """How far outside, in widths of the limits; 0 is usual."""
        if self.low is None or self.high is None:
            return 0.0
        return max(self.low - self.value, self.value - self.high, 0.0) / (self.high - self.low or 1e-9)


@lru_cache
def configuration() -> dict[str, Any]:
    """expectations/control.yml, as it is."""
    return dict(yaml.safe_load((ROOT / "expectations/control.yml").read_text()))


def rule(source: str, metric: str, patterns: dict[str, dict[str, Any]]) -> Rule:
    """The first pattern that fits; raises ControlError when it says what no rule has."""
    pattern, found = next(((pattern, found) for pattern, found in patterns.items() if fnmatchcase(f"{source}/{metric}", pattern)), ("", {}))
    try:
        made = Rule(**found)
    except TypeError as error:
        raise ControlError(f"expectations/control.yml, metrics, {pattern!r}: {error}; a rule has absolute, relative, widen, since, then") from None
    if made.then not in ("warn", "stop"):
        raise ControlError(f"expectations/control.yml, metrics, {pattern!r}: then is {made.then!r}; it can be warn or stop")
    return made


def partition_limits(values: list[float], least: int, level: float, rule: Rule) -> list[tuple[float, float] | None]:
    """For each value the limits that the earlier ones give: near the usual level, and no jump from the value before.

    A value outside counts in the moving range only up to the limit, and the next may also continue from the last usual one: so the return from
    a single outlier is no second flag, and limits stay narrow. A new level is flagged until it is the usual one.
    """
    limits: list[tuple[float, float] | None] = []
    moves: list[float] = []
    usual = values[0] if values else 0.0
    for number, value in enumerate(values):
        before = values[max(number - 1, 0)]
        move, found = min(abs(value - before), abs(value - usual)), None
        if number >= least:
            centre, spread = median(values[:number]), fmean(moves) * rule.widen
            jump, away = (max(factor * spread, rule.floor(centre)) for factor in (MOVING_RANGE, INDIVIDUALS * level))
            found = max(centre - away, min(before, usual) - jump), min(centre + away, max(before, usual) + jump)
            move = min(move, jump)
        if number:
            moves.append(move)
        if found is None or found[0] <= value <= found[1]:
            usual = value
        limits.append(found)
    return limits


def day_limits(values: dict[int, float], day: int, rule: Rule, how: Days) -> tuple[float, float] | None:
    """The limits of a day (an ordinal), from the weeks before it: around the median of its weekday, as far as days were from theirs, and beyond."""
    away: list[float] = []
    for since in range(1, 8):
        same = [values[past] for past in range(day - since, day - 7 * how.weeks - 1, -7) if past in values]
        usual = median(same) if same else 0.0
        away += [value - usual for value in same]
    # the last of the seven was the weekday of `day` itself
    if len(same) < how.least:
        return None
    away.sort()
    cut = int(len(away) * how.trim)
    low, high = away[cut], away[-1 - cut]
    beyond, floor = how.reach * (high - low), rule.floor(usual)
    return usual + min((low - beyond) * rule.widen, -floor), usual + max((high + beyond) * rule.widen, floor)


def judge(source: str, profiles: dict[str, Profile], settled: dict[str, Any], only: str | None = None) -> list[Judged]:
    """All values of the profiles (in key order), or those of the partition `only`, with their limits."""
    rules = {metric: rule(source, metric, settled["metrics"]) for profile in profiles.values() for metric in profile.whole | profile.days}
    judged = []
    for metric, its in rules.items():
        judged += _whole(metric, its, profiles, settled["partitions"], only)
        judged += _days(metric, its, profiles, Days(**settled["days"]), only)
    return judged


def _bounded(metric: str, limits: tuple[float, float] | None) -> tuple[float | None, float | None]:
    if limits is None:
        return None, None
    return (max(limits[0], 0.0) if metric.startswith(COUNTS) else limits[0]), limits[1]


def _whole(metric: str, its: Rule, profiles: dict[str, Profile], how: dict[str, Any], only: str | None) -> list[Judged]:
    values = {key: profile.whole[metric] for key, profile in profiles.items() if metric in profile.whole and key >= its.since}
    limits = partition_limits(list(values.values()), how["least"], how["level"], its)
    found = zip(values.items(), limits, strict=True)
    return [Judged(metric, key, None, value, *_bounded(metric, limit)) for (key, value), limit in found if only in (None, key)]


def _days(metric: str, its: Rule, profiles: dict[str, Profile], how: Days, only: str | None) -> list[Judged]:
    days = {key: profile.days[metric] for key, profile in profiles.items() if metric in profile.days and key >= its.since}
    values = {day.toordinal(): value for found in days.values() for day, value in found.items()}
    return [
        Judged(metric, key, day, value, *_bounded(metric, day_limits(values, day.toordinal(), its, how)))
        for key, found in days.items()
        if only in (None, key)
        for day, value in found.items()
    ]
