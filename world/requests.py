"""The people who ask: each flight of a month, two hours before the hour of its departure, to whatever serves then."""

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Any

import httpx
import pyarrow.compute as pc

from flightdeck.settings import settings
from world.data import month, weather

# who asks at once; while one waits for its answer, the other writes its question
CLIENTS = 2
# another one each day
DESKS = 40
LEAD = timedelta(hours=2)
# an observation older than this is not sent
MOST_AGE = timedelta(hours=24)
FIELDS = ["carrier", "flight", "origin", "dest", "tailnum", "distance"]
OBSERVED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def send(key: str, purpose: str = "replay") -> dict[str, Any]:
    """Ask for every flight of month `key`; returns what was sent, answered, by which model version, and the ids. Before the first release: nothing."""
    facts: dict[str, Any] = {"sent": 0, "answered": 0, "model_versions": []}
    identities: list[str] = []
    with httpx.Client(base_url=settings().url("serving"), headers=settings().authorization, timeout=30) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def ask(batch: tuple[datetime, list[dict[str, Any]]]) -> tuple[int, httpx.Response]:
            headers = {"x-purpose": purpose, "x-requested-at": batch[0].isoformat()}
            asked = {"instances": batch[1], "subject": f"desk-{batch[0].timetuple().tm_yday % DESKS:02}@example.org"}
            return len(batch[1]), client.post("/predict", json=asked, headers=headers)

        waiting = batches(key)
        while some := list(islice(waiting, 4 * CLIENTS)):
            for sent, answer in pool.map(ask, some):
                if answer.status_code == 503 and answer.json().get("error") == "no_release":
                    return facts | {"reason": answer.json()["message"]}
                answer.raise_for_status()
                found = answer.json()
                facts["sent"] += sent
                facts["answered"] += len(found["predictions"])
                identities += [one["prediction_id"] for one in found["predictions"]]
                facts["model_versions"] = sorted({*facts["model_versions"], found["model_version"]})
    return facts | {"prediction_ids": identities}


def batches(key: str) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
    """(time of asking, instances) for each departure hour of a month, or of its day or hour (YYYY-MM-DDTHH), in order."""
    table, part = month(int(key[5:7])), (("day", key[8:10]), ("hour", key[11:13]))
    for name, value in part:
        table = table.filter(pc.equal(table[name], int(value))) if value else table
    rows = table.sort_by([("time_hour", "ascending"), ("carrier", "ascending"), ("flight", "ascending")]).to_pylist()
    newest = _observations(key[:7])
    for hour, group in groupby(rows, key=lambda row: row["time_hour"].replace(tzinfo=UTC)):
        yield hour - LEAD, [_instance(row, newest(row["origin"], hour - LEAD)) for row in group]


def _instance(row: dict[str, Any], observation: dict[str, Any] | None) -> dict[str, Any]:
    departure = datetime(row["year"], row["month"], row["day"], row["hour"], row["minute"])  # noqa: DTZ001 (local, as schedules are)
    instance = {name: row[name] for name in FIELDS if row[name] is not None} | {"scheduled_departure": departure.isoformat()}
    if observation:
        instance["weather"] = {name: observation[name] for name in OBSERVED if observation[name] is not None}
    return instance


def _observations(key: str) -> Any:
    """A look-up (station, time) → the newest observation at or before that time, among this month's and the month's before."""
    months = weather()
    earlier = max((month for month in months if month < key), default=None)
    known = sorted(((row["origin"], row["time_hour"], row) for month in (earlier, key) if month for row in months[month]), key=lambda item: item[:2])
    by_station = {station: list(group) for station, group in groupby(known, key=lambda item: item[0])}

    def newest(station: str, time: datetime) -> dict[str, Any] | None:
        observations = by_station.get(station, [])
        place = bisect_right(observations, time, key=lambda item: item[1])
        found = observations[place - 1] if place else None
        return found[2] if found and found[1] > time - MOST_AGE else None

    return newest
