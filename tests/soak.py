"""Half of the service's load for ten minutes, while what serves changes every ten seconds, is rolled back every minute, and the worker is killed every minute.

`python -m tests.soak [SECONDS] [RATE]`, also a part of `make bench`, on a stack that is up and has deployed three releases or more. Prints JSON, and fails
where a promise does not hold: no answer from a version that did not serve, every answered id in the log, no failed request but on connections to a killed
worker.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from itertools import cycle
from statistics import median
from typing import Any

import msgspec

from flightdeck import deployments
from flightdeck.predictions import LOGGED
from flightdeck.settings import settings
from flightdeck.warehouse import connect, query
from serving.workers import NotServed, await_workers
from tests.load import Connection, Load, request
from tests.sandbox import workers
from world.requests import batches

CONNECTIONS, RELOAD, EVERY = 16, 10.0, 60.0
# in which every worker must serve what was deployed
TAKES_UP = 2.0
RELEASES = "select distinct on (model_version) release from ops.deployments where state = 'champion' order by model_version"


class Answer(msgspec.Struct):
    model_version: int
    predictions: list[dict[str, Any]]


class Changes(threading.Thread):
    """Deploys, rolls back and kills; `serving` is {version: until when an answer may be of it}."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.until = time.monotonic() + seconds
        self.releases = [row["release"] for row in query(RELEASES)]
        now = deployments.champion()
        assert now
        assert len(self.releases) >= 3, "deploy three releases first: `flightdeck replay 2013-01 2013-04`"
        self.current, self.serving = int(now["model_version"]), {int(now["model_version"]): float("inf")}
        self.reloads, self.rollbacks, self.kills = list[float](), list[float](), list[float]()
        self.killed = 0.0

    def run(self) -> None:
        following = cycle(self.releases)
        rolled = killed = time.monotonic()
        with connect() as connection:
            while time.monotonic() < self.until:
                begun = time.monotonic()
                release = next(each for each in following if each["model_version"] != self.current)
                self.take_up(
                    connection, release["model_version"], self.reloads, lambda r=release: deployments.promote(connection, max(r["partitions"]), r, ["soak"])
                )
                if begun - rolled > EVERY:
                    rolled = begun
                    self.roll_back(connection)
                if begun - killed > EVERY:
                    killed = begun
                    self.kill()
                time.sleep(max(0, RELOAD - (time.monotonic() - begun)))

    def take_up(self, connection: Any, version: int, took: list[float], change: Any) -> None:
        before, self.serving[version] = self.current, float("inf")
        begun = time.monotonic()
        row = change()
        self.current = version
        self.serving[before] = time.monotonic() + TAKES_UP
        try:
            await_workers(connection, row, seconds=30)
        except NotServed:
            # the worker has just been killed: until another is there, nobody answers
            assert time.monotonic() - self.killed < 60
        took.append(time.monotonic() - begun)

    def roll_back(self, connection: Any) -> None:
        rows = query("select model_version from ops.deployments where state = 'champion' and model_version <> %s order by id desc limit 1", self.current)
        self.take_up(connection, rows[0]["model_version"], self.rollbacks, lambda: deployments.roll_back(None, "soak")[2])

    def kill(self) -> None:
        worker = next(workers(str(settings().home)))
        self.killed = time.monotonic()
        self.kills.append(self.killed)
        os.kill(worker.pid, signal.SIGKILL)


class Paced(Connection):
    """Sends at its own pace; a connection that breaks is followed by another."""

    def __init__(self, soak: "Soak", due: float) -> None:
        super().__init__(soak.load, lambda _: None)
        self.soak, self.due = soak, due

    def _next(self, answer: bytes | None) -> None:
        if answer is not None:
            self.soak.take(answer, self.begun)
        now = time.perf_counter()
        # who was held up catches up with a second of requests, and no more
        self.due = max(self.due + self.soak.interval, now - 1)
        asyncio.get_running_loop().call_later(max(0.0, self.due - now), self._send)

    def _send(self) -> None:
        body = self.soak.following()
        if body is None or self.transport.is_closing():
            self.transport.close()
            return
        self.begun = time.perf_counter()
        self.transport.write(body)  # type: ignore[attr-defined]


class Soak:
    def __init__(self, seconds: float, rate: float, bodies: list[bytes], changes: Changes) -> None:
        self.load, self.changes, self.interval = Load(), changes, CONNECTIONS / rate
        self.bodies, self.until = cycle(bodies), time.monotonic() + seconds
        self.identities, self.wrong, self.broken = bytearray(), list[int](), list[float]()
        self.decode = msgspec.json.Decoder(Answer).decode

    def following(self) -> bytes | None:
        return next(self.bodies) if time.monotonic() < self.until else None

    def take(self, answer: bytes, begun: float) -> None:
        found = self.decode(answer)
        if self.changes.serving.get(found.model_version, 0.0) < time.monotonic() - (time.perf_counter() - begun):
            self.wrong.append(found.model_version)
        for each in found.predictions:
            self.identities += bytes.fromhex(each["prediction_id"].replace("-", ""))

    async def one(self, port: int, number: int) -> None:
        """A connection after the other, until the end."""
        loop = asyncio.get_running_loop()
        while time.monotonic() < self.until:
            try:
                _, opened = await loop.create_connection(lambda: Paced(self, time.perf_counter() + number * self.interval / CONNECTIONS), "127.0.0.1", port)
            except OSError:
                self.broken.append(time.monotonic())
                await asyncio.sleep(0.1)
                continue
            await opened.over
            if time.monotonic() < self.until:
                self.broken.append(time.monotonic())

    async def run(self, port: int) -> None:
        begun = time.perf_counter()
        await asyncio.gather(*(self.one(port, number) for number in range(CONNECTIONS)))
        self.load.seconds = time.perf_counter() - begun

    def lost(self) -> int:
        """How many of the answered ids are not in the log, once the service's file is copied."""
        identities = [self.identities[at : at + 16].hex() for at in range(0, len(self.identities), 16)]
        deadline = time.monotonic() + 120
        with connect() as connection:
            while True:
                missing = 0
                for at in range(0, len(identities), 50_000):
                    some = identities[at : at + 50_000]
                    row = connection.execute(LOGGED, (some,)).fetchone()
                    assert row
                    missing += len(some) - row["n"]
                if not missing or time.monotonic() > deadline:
                    return missing
                time.sleep(1)


def main() -> None:
    seconds, rate = float(([*sys.argv, "", ""])[1] or 600), float(([*sys.argv, "", ""])[2] or 4400)
    champion = deployments.champion()
    assert champion
    month = [instance for _, instances in batches(champion["partition_key"]) for instance in instances]
    bodies = [request("/predict", json.dumps({"instances": [each]}).encode(), "x-purpose: probe\r\n") for each in month[:20_000]]
    changes = Changes(seconds)
    soak = Soak(seconds, rate, bodies, changes)
    changes.start()
    asyncio.run(soak.run(settings().port_serving))
    changes.join(90)
    lost = soak.lost()
    # a connection breaks as its worker is killed, and not otherwise
    unexplained = [at for at in soak.broken if not any(0 <= at - killed < 30 for killed in changes.kills)]
    found = {
        "seconds": round(soak.load.seconds),
        "answers": len(soak.load.latencies),
        "rate": round(soak.load.rate),
        "p99_milliseconds": round(soak.load.quantile(0.99) * 1000, 1),
        "statuses": soak.load.statuses,
        "reloads": len(changes.reloads),
        "reload_seconds": round(median(changes.reloads), 3),
        "rollbacks": len(changes.rollbacks),
        "rollback_seconds": round(max(changes.rollbacks, default=0), 3),
        "kills": len(changes.kills),
        "broken_by_a_kill": len(soak.broken) - len(unexplained),
        "broken_otherwise": len(unexplained),
        "of_a_version_that_did_not_serve": len(soak.wrong),
        "lost": lost,
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if lost or soak.wrong or unexplained or set(soak.load.statuses) != {200}:
        sys.exit(1)


if __name__ == "__main__":
    main()
