"""Faults of the stations' API: a small file names them, and the API, which is another process, reads it when it answers."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from flightdeck.settings import settings
from world.data import weather
from world.faults import Fault, chosen, late

Row = dict[str, Any]


def _file() -> Path:
    return settings().home / "world" / "faults.json"


def _active() -> tuple[int, tuple[Fault, ...]]:
    """When the faults last changed, and which there are."""
    try:
        with _file().open() as file:
            return os.fstat(file.fileno()).st_mtime_ns, tuple(Fault(**entry) for entry in json.load(file))
    except FileNotFoundError:
        return 0, ()


def _key(row: Row) -> str:
    # a poisoned origin still begins with its three letters
    return f"{row['time_hour']:%Y-%m-%dT%H:%M:%SZ}/{row['origin'][:3]}"


@lru_cache
def _keys(fault: Fault) -> list[str]:
    """Chosen from the rows as they are without faults; only what has a value can be corrected."""
    rows = weather()[fault.month]
    return chosen((_key(row) for row in rows if row["temp"] is not None or not fault.name.startswith("corrections")), fault, len(rows))


def _picked(rows: list[Row], fault: Fault) -> list[Row]:
    keys = set(_keys(fault))
    return [row for row in rows if _key(row) in keys]


def _changed(rows: list[Row], fault: Fault, **values: Any) -> list[Row]:
    keys = set(_keys(fault))
    return [row | values if _key(row) in keys else row for row in rows]


def _versions(rows: list[Row], fault: Fault, *days: int) -> list[Row]:
    """One version more for each of the days after the first correction, warmer by 5 each, sent in the order of `days`."""
    at = [(late(fault.month) + timedelta(days=day), 5 * (day + 1)) for day in days]
    return rows + [row | {"recorded_at": time, "temp": row["temp"] + warmer} for row in _picked(rows, fault) for time, warmer in at]


def _with_temp(rows: list[Row], convert: Callable[[float], Any]) -> list[Row]:
    return [row | {"temp": None if row["temp"] is None else convert(row["temp"])} for row in rows]


def _poisoned(rows: list[Row], fault: Fault, poison: Callable[[str], str]) -> list[Row]:
    keys = set(_keys(fault))
    return [row | {"origin": poison(row["origin"])} if _key(row) in keys else row for row in rows]


# Of several faults the upper come first, in whatever order they were injected: each finds the columns and types that it needs.
ROWS: dict[str, Callable[[list[Row], Fault], list[Row]]] = {
    "unit_change": lambda rows, _: _with_temp(rows, lambda temp: round((temp - 32) / 1.8, 2)),
    "late_rows": lambda rows, fault: _changed(rows, fault, recorded_at=late(fault.month)),
    "corrections": lambda rows, fault: _versions(rows, fault, 0),
    "corrections_out_of_order": lambda rows, fault: _versions(rows, fault, 1, 0),
    "duplicate_rows": lambda rows, fault: rows + _picked(rows, fault),
    "poison nan": lambda rows, fault: _changed(rows, fault, temp=float("nan")),
    "poison absurd": lambda rows, fault: _changed(rows, fault, temp=1e30, wind_speed=1048.0),
    "poison nul": lambda rows, fault: _poisoned(rows, fault, lambda origin: origin + "\0"),
    "poison huge": lambda rows, fault: _poisoned(rows, fault, lambda origin: origin * 350_000),
    "new_column": lambda rows, _: [row | {"cloud_cover": 0.5} for row in rows],
    "retyped_column": lambda rows, _: _with_temp(rows, lambda temp: f"{temp} F"),
    "renamed_column": lambda rows, _: [{"visibility" if name == "visib" else name: value for name, value in row.items()} for row in rows],
    "lost_column": lambda rows, _: [{name: value for name, value in row.items() if name != "visib"} for row in rows],
}
PAGES = {"duplicate_page": "one page more", "repeated_page": "page 2 brings page 1 again"}
REQUESTS = {
    "errors": "{fault.percent:g} of 100 requests, the first among them",
    "outage": "every request",
    "slow": "every answer, by {fault.seconds:g} s",
}
FAULTS = {**ROWS, **PAGES, **REQUESTS}


def rows(month: str) -> list[Row]:
    """The month's observations, all versions that will ever be known; KeyError for what is no month."""
    return _spoiled(month, _active()[1])


@lru_cache(maxsize=32)
def _spoiled(month: str, faults: tuple[Fault, ...]) -> list[Row]:
    found = weather()[month]
    for label, spoil in ROWS.items():
        for fault in faults:
            if (fault.label, fault.month) == (label, month):
                found = spoil(found, fault)
    return found


def pages(month: str, known: list[Row], limit: int) -> tuple[list[list[Row]], int]:
    """What is known, in pages (at least one, maybe empty), and the number of rows to announce."""
    names = {fault.name for fault in _active()[1] if fault.month == month}
    found = [known[start : start + limit] for start in range(0, len(known), limit)] or [[]]
    if "duplicate_page" in names:
        found.append(found[-1])
    total = sum(map(len, found))
    if "repeated_page" in names:
        found[1:2] = found[1:2] and [found[0]]
    return found, total


async def hinder(month: str) -> None:
    """Let a request for the month wait, or fail with 503, if it has to."""
    changed, faults = _active()
    for fault in faults:
        if fault.month != month:
            continue
        if fault.name == "slow":
            await asyncio.sleep(fault.seconds)
        # spread evenly: up to 50 %, the request after a failed one succeeds
        if fault.name == "outage" or (fault.name == "errors" and next(_asked(fault, changed)) * fault.percent % 100 < fault.percent):
            raise HTTPException(503, "the stations are not available")


@lru_cache
def _asked(fault: Fault, _: int) -> Iterator[int]:
    """Counts the requests since the faults last changed."""
    return count(fault.seed)


def inject(fault: Fault) -> str:
    """Add the fault to the file; returns what the API does from now on."""
    _file().parent.mkdir(parents=True, exist_ok=True)
    scratch = _file().with_suffix(".part")
    scratch.write_text(json.dumps([asdict(one) for one in (*_active()[1], fault)], indent=1))
    scratch.replace(_file())
    if fault.name in ROWS or fault.kind:
        return _effect(fault)
    return {**PAGES, **REQUESTS}[fault.name].format(fault=fault)


def _effect(fault: Fault) -> str:
    everywhere = fault.name == "unit_change" or fault.name.endswith("_column")
    number = len(weather()[fault.month]) if everywhere else len(_keys(fault))
    return f"{number} rows, such as {_keys(fault)[0]}"


def heal() -> str | None:
    """No fault any more; says so if there was one."""
    try:
        _file().unlink()
    except FileNotFoundError:
        return None
    return "the API answers as before"
