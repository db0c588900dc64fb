"""A task that does next to nothing, on a schedule: where it runs, scheduler, executor, API server and warehouse work together."""

from flightdeck.settings import settings
from flightdeck.warehouse import connect


def sing() -> None:
    """Leave the time in the warehouse, which Prometheus sees, and in a file, which the scheduler's health check looks at."""
    with connect() as connection:
        connection.execute("insert into ops.canary (at) values (clock_timestamp()) on conflict (one) do update set at = excluded.at")
    (settings().home / "run" / "canary").touch()
