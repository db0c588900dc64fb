"""What online features need beside the request: aircraft, holidays, what was planned, and route history as of each published partition."""

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from psycopg.rows import tuple_row

from flightdeck.partitions import key_of
from flightdeck.settings import settings
from flightdeck.warehouse import Connection
from ml.features import PLANNED, calendar, from_request
from serving.schema import Instance, usable

ZONE = ZoneInfo(settings().timezone)
PLANS = "select partition_key, max(id) as id from ops.ledger where stage = 'plan' and state = 'done' group by 1"
PLAN = f'select entity_id, {", ".join(PLANNED)} from marts.planned_departures where partition_key = %s order by entity_id collate "C"'

NOT_PLANNED: list[float | None] = [None] * len(PLANNED)
UNKNOWN = (None, None)
MOST_MOMENTS = 50_000


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One instance, ready for the model and for the log."""

    entity_id: str
    partition_key: str
    history_key: str | None
    # the values of FEATURES
    values: list[float | None]
    out_of_range: int


@dataclass(frozen=True, eq=False)
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
        return planned(self).get(entity_id, NOT_PLANNED)


@lru_cache(maxsize=3)
def planned(plan: Plan) -> dict[str, list[float | None]]:
    """{entity: its values}. Those of the plans that are asked for: a dictionary takes many times the room of the arrays."""
    values = ([None if value != value else value for value in row] for row in plan.values.tolist())
    return dict(zip(map(bytes.decode, plan.entities.tolist()), values, strict=True))


class Packed(msgspec.Struct):
    planes: dict[str, tuple[float | None, float | None]]
    routes: list[tuple[str, str, str, int, int]]
    published: list[str]
    holidays: list[date]
    # partition → (the ledger's row, bytes of an entity, entities, values)
    plans: dict[str, tuple[int, int, bytes, bytes]]


class Moment(msgspec.Struct, frozen=True):
    """What a time of departure alone decides."""

    hour: str
    partition_key: str
    history_key: str | None
    calendar: tuple[float, float, float]


@dataclass(frozen=True)
class Reference:
    planes: dict[str, tuple[float | None, float | None]]
    routes: dict[tuple[str, str, str], tuple[int, int]]
    published: list[str]
    holidays: list[date] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)
    # of the departures that were asked for last
    moments: dict[datetime, Moment] = field(default_factory=dict, compare=False)

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

    def packed(self) -> bytes:
        """All of it as data, for another process."""
        plans = {key: (plan.built, plan.entities.itemsize, plan.entities.tobytes(), plan.values.tobytes()) for key, plan in self.plans.items()}
        routes = [(*key, *value) for key, value in self.routes.items()]
        return msgspec.msgpack.encode(Packed(self.planes, routes, self.published, self.holidays, plans))

    @classmethod
    def unpacked(cls, content: bytes) -> "Reference":
        """What `packed` has written; raises ValueError."""
        found = msgspec.msgpack.decode(content, type=Packed)
        routes = {(key, origin, dest): (flights, total) for key, origin, dest, flights, total in found.routes}
        plans = {
            key: Plan(built, np.frombuffer(entities, dtype=f"S{size}"), np.frombuffer(values).reshape(-1, len(PLANNED)))
            for key, (built, size, entities, values) in found.plans.items()
        }
        return cls(found.planes, routes, found.published, found.holidays, plans)

    def history_key(self, partition_key: str) -> str | None:
        """The newest partition published before `partition_key`: never simply the latest."""
        place = bisect_left(self.published, partition_key)
        return self.published[place - 1] if place else None

    def moment(self, departure: datetime) -> Moment:
        """`departure`: local. Many ask for few departures: what was made of one is kept."""
        found = self.moments.get(departure)
        if found is None:
            if len(self.moments) >= MOST_MOMENTS:
                self.moments.clear()
            hour = departure.replace(minute=0, second=0, microsecond=0, tzinfo=ZONE).astimezone(UTC)
            key = key_of(departure)
            found = Moment(f"{hour:%Y-%m-%dT%H:%M:%SZ}", key, self.history_key(key), calendar(departure, self.holidays))
            self.moments[departure] = found
        return found

    def ask(self, instance: Instance) -> Asked:
        return self.with_weather(instance, *usable(instance.weather))

    def with_weather(self, instance: Instance, weather: tuple[float | None, ...], out_of_range: int) -> Asked:
        """The same, of the observation's values that can be used."""
        at = self.moment(instance.scheduled_departure)
        entity_id = f"{at.hour}/{instance.carrier}/{instance.flight}"
        plane = self.planes.get(instance.tailnum or "", UNKNOWN)
        route = self.routes.get((at.history_key, instance.origin, instance.dest)) if at.history_key else None
        plan = self.plans.get(at.partition_key)
        values = from_request(instance, at.calendar, plane, route, plan.of(entity_id) if plan else NOT_PLANNED, weather)
        return Asked(entity_id, at.partition_key, at.history_key, values, out_of_range)
