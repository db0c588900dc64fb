"""The service's workers, however many and wherever, as the warehouse sees them; and the wait until all of them have taken up what was decided."""

import time

import httpx

from flightdeck import deployments
from flightdeck.settings import settings
from flightdeck.warehouse import Connection


class NotServed(RuntimeError):
    """The service did not take up what was deployed; the message says what it reports instead."""


def await_workers(connection: Connection, row: int, key: str = "", seconds: float = 60) -> None:
    """Until every worker of the service has taken up `row` of ops.deployments, and has the history of partition `key`; raises NotServed.

    The workers are those that are connected to the warehouse, each by the name of its connection: however many, and wherever.
    """
    deadline, said, behind = time.monotonic() + seconds, "", list[deployments.Worker]()
    published = connection.execute("select coalesce(max(id), 0) as id from ops.ledger where partition_key = %s and state = 'published'", (key,)).fetchone()
    assert published
    while time.monotonic() < deadline:
        workers = deployments.workers(connection)
        behind = [worker for worker in workers if worker.deployment < row or worker.ledger < published["id"]]
        if workers and not behind:
            return
        said = f"{len(behind)} of {len(workers)} workers are behind" if workers else "no worker is connected to the warehouse"
        time.sleep(0.02)
    said += f"; its health says: {_health()}" if behind else ""
    raise NotServed(f"after {seconds:.0f} s the service has not taken up deployment {row}{f' with the history of {key}' if key else ''}: {said}")


def _health() -> str:
    try:
        return httpx.get(settings().url("serving") + "/health", timeout=5).text
    except httpx.HTTPError as error:
        return str(error)
