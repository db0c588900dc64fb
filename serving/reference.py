"""What online features need beside the request: aircraft, holidays, what was planned, and route history as of each published partition."""

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from psycopg.rows import tuple_row

from flightdeck.settings import settings
from flightdeck.warehouse import Connection
from ml.features import PLANNED, from_request
from serving.schema import Instance, usable

ZONE = ZoneInfo(settings().timezone)
PLANS = "select partition_key, max(id) as id from ops.ledger where stage = 'plan' and state = 'done' group by 1"
PLAN = f'select entity_id, {", ".join(PLANNED)} from marts.planned_departures where partition_key = %s order by entity_id collate "C"'


@dataclass(frozen=True)
class Asked:
    """One instance, ready for the model and for the log."""

    entity_id: str
    partition_key: str
    history_key: str | None
    features: dict[str, float | None]
    out_of_range: int


@dataclass(frozen=True)
class Plan:
    """A partition's planned departures, as the ledger's row `built` left them: arrays, since a year of dicts would take ten times the memory."""

    built: int
    entities: "np.ndarray[Any, np.dtype[np.bytes_]]"
    values: "np.ndarray[Any, np.dtype[np.float64]]"

    @classmethod
    def read(cls, connection: Connection, key: str, built: int) -> "Plan":
        with connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(PLAN.encode(), (key,)).fetchall()
        values = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), len(PLANNED))
        return cls(built, np.array([row[0].encode() for row in rows], dtype=np.bytes_), values)

    def of(self, entity_id: str) -> list[float | None]:
        """The values of PLANNED; all None for what was not planned."""
        asked = entity_id.encode()
        place = int(np.searchsorted(self.entities, np.bytes_(asked)))
        if place == len(self.entities) or self.entities[place] != asked:
            return [None] * len(PLANNED)
        return [None if value != value else value for value in self.values[place].tolist()]


@dataclass(frozen=True)
class Reference:
    planes: dict[str, tuple[float | None, float | None]]
    routes: dict[tuple[str, str, str], tuple[int, int]]
    published: list[str]
    holidays: list[date] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: Connection, before: "Reference | None" = None) -> "Reference":
        """All of it; a plan that `before` holds is read again only when it was built again since."""
        planes = {row["tailnum"]: (row["year"], row["seats"]) for row in connection.execute("select tailnum, year, seats from raw.planes")}
        routes = {
            (row["partition_key"], row["origin"], row["dest"]): (row["flights"], row["air_time_total"])
            for row in connection.execute("select partition_key, origin, dest, flights, air_time_total from marts.route_history")
        }
        published = [row["partition_key"] for row in connection.execute("select partition_key from ops.published order by 1")]
        holidays = [row["day"] for row in connection.execute("select day from marts.federal_holidays order by 1")]
        held = before.plans if before else {}
        plans = {
            key: held[key] if key in held and held[key].built == built else Plan.read(connection, key, built)
            for key, built in ((row["partition_key"], row["id"]) for row in connection.execute(PLANS).fetchall())
        }
        return cls(planes, routes, published, holidays, plans)

    def history_key(self, partition_key: str) -> str | None:
        """The newest partition published before `partition_key`: never simply the latest."""
        place = bisect_left(self.published, partition_key)
        return self.published[place - 1] if place else None

    def ask(self, instance: Instance) -> Asked:
        departure = instance.scheduled_departure
        hour = departure.replace(minute=0, second=0, microsecond=0, tzinfo=ZONE).astimezone(UTC)
        entity_id = f"{hour:%Y-%m-%dT%H:%M:%SZ}/{instance.carrier}/{instance.flight}"
        key = departure.strftime("%Y-%m")
        history = self.history_key(key)
        weather, out_of_range = usable(instance.weather)
        values: dict[str, Any] = {
            "carrier": instance.carrier, "origin": instance.origin, "dest": instance.dest, "distance": instance.distance, "weather": weather,
        }  # fmt: skip
        plane = self.planes.get(instance.tailnum or "", (None, None))
        route = self.routes.get((history, instance.origin, instance.dest)) if history else None
        planned = self.plans[key].of(entity_id) if key in self.plans else [None] * len(PLANNED)
        features = from_request(values, departure, plane, route, planned, self.holidays)
        return Asked(entity_id, key, history, features, out_of_range)
