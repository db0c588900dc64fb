"""Follows ops.deployments and the ledger: the newest release that passes its checks serves, the one before it until then."""

import logging
import threading
from dataclasses import dataclass, replace

import psycopg

from flightdeck import logs
from flightdeck.registry import RegistryError
from flightdeck.warehouse import Connection, connect
from serving.reference import Reference
from serving.release import Release, ReleaseRefused, load

log = logging.getLogger("flightdeck.serving")
NEWEST = "select id, release from ops.deployments where state = 'champion' order by id desc limit 1"
# what may be read has changed, or what is planned
CHANGED = "select coalesce(max(id), 0) as id from ops.ledger where state in ('published', 'withdrawn') or (stage = 'plan' and state = 'done')"


@dataclass(frozen=True)
class Serving:
    """What serves now; replaced as a whole."""

    release: Release | None = None
    reference: Reference | None = None
    deployment: int = 0
    ledger: int = -1  # not looked yet; 0 is a ledger without any published partition
    problem: str = ""


class Follower:
    def __init__(self, every: float = 0.5) -> None:
        self.now = Serving()
        self.every = every
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="follower", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                with connect("serving") as connection:
                    while not self._stop.wait(self.every):
                        self.now = self.step(connection)
            except psycopg.Error as error:
                # goes on with what it has; says so in its health
                self.now = replace(self.now, problem=f"the warehouse does not answer: {error}")
                self._stop.wait(1)

    def step(self, connection: Connection) -> Serving:
        """One look: reference data first, so that a new release never meets older ones."""
        now = replace(self.now, problem="")
        newest = connection.execute(NEWEST).fetchone()
        changed = connection.execute(CHANGED).fetchone()
        if changed and changed["id"] != now.ledger:
            now = replace(now, reference=Reference.read(connection, now.reference), ledger=changed["id"])
        if newest and newest["id"] != now.deployment:
            try:
                now = replace(now, release=load(newest["release"]), deployment=newest["id"])
                logs.about["release"] = newest["release"]["model_version"]
                log.info("version %s serves", newest["release"]["model_version"])
            except (ReleaseRefused, RegistryError) as error:
                now = replace(now, problem=str(error))
                # it is tried again at each look, and said once
                if now.problem != self.now.problem:
                    log.warning("the older release goes on: %s", error)
        return now
