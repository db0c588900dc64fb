"""What online features need beside the request: aircraft, and route history as of each published partition."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from flightdeck.settings import settings
from flightdeck.warehouse import Connection
from ml.features import from_request
from serving.schema import Instance, usable

ZONE = ZoneInfo(settings().timezone)


@dataclass(frozen=True)
class Asked:
    """One instance, ready for the model and for the log."""

    entity_id: str
    partition_key: str
    history_key: str | None
    features: dict[str, float | None]
    out_of_range: int


@dataclass(frozen=True)
class Reference:
    planes: dict[str, tuple[float | None, float | None]]
    routes: dict[tuple[str, str, str], tuple[int, int]]
    published: list[str]

    @classmethod
    def read(cls, connection: Connection) -> "Reference":
        planes = {row["tailnum"]: (row["year"], row["seats"]) for row in connection.execute("select tailnum, year, seats from raw.planes")}
        routes = {
            (row["partition_key"], row["origin"], row["dest"]): (row["flights"], row["air_time_total"])
            for row in connection.execute("select partition_key, origin, dest, flights, air_time_total from marts.route_history")
        }
        published = [row["partition_key"] for row in connection.execute("select partition_key from ops.published order by 1")]
        return cls(planes, routes, published)

    def history_key(self, partition_key: str) -> str | None:
        """The newest partition published before `partition_key`: never simply the latest."""
        place = bisect_left(self.published, partition_key)
        return self.published[place - 1] if place else None

    def ask(self, instance: Instance) -> Asked:
        departure = instance.scheduled_departure
        hour = departure.replace(minute=0, second=0, microsecond=0, tzinfo=ZONE).astimezone(UTC)
        key = departure.strftime("%Y-%m")
        history = self.history_key(key)
        weather, out_of_range = usable(instance.weather)
        values: dict[str, Any] = {"carrier": instance.carrier, "origin": instance.origin, "dest": instance.dest, "weather": weather}
        plane = self.planes.get(instance.tailnum or "", (None, None))
        route = self.routes.get((history, instance.origin, instance.dest)) if history else None
        features = from_request(values, departure, plane, route, instance.distance)
        return Asked(f"{hour:%Y-%m-%dT%H:%M:%SZ}/{instance.carrier}/{instance.flight}", key, history, features, out_of_range)
