"""A task that does next to nothing, on a schedule: where it runs, scheduler, executor, API server and warehouse work together."""

from flightdeck.warehouse import connect, query

# the schedule is every five minutes; a busy machine may be late once
STALE_SECONDS = 720


def sing() -> None:
    with connect() as connection:
        connection.execute("insert into ops.canary (at) values (clock_timestamp()) on conflict (one) do update set at = excluded.at")


def age() -> float | None:
    """Seconds since it last ran; None before the first time."""
    found = query("select extract(epoch from clock_timestamp() - at)::float8 as age from ops.canary", role="reader")
    return float(found[0]["age"]) if found else None
