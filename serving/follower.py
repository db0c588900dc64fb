"""Follows ops.deployments and the ledger: the newest release that passes its checks serves, the one before it until then; and what is on trial."""

import logging
import threading
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from flightdeck import deployments, logs
from flightdeck.registry import RegistryError
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect
from serving import metrics
from serving.keep import Keep
from serving.reference import Reference
from serving.release import Release, ReleaseRefused, load

log = logging.getLogger("flightdeck.serving")
# what may be read has changed, or what is planned
CHANGED = "select coalesce(max(id), 0) as id from ops.ledger where state in ('published', 'withdrawn') or (stage = 'plan' and state = 'done')"
# releases in memory: a roll back to one of them takes no time
LOADED = 3


@dataclass(frozen=True)
class Serving:
    """What serves now; replaced as a whole."""

    release: Release | None = None
    # what is on trial, and the share of requests that it answers; in shadow that is none
    candidate: Release | None = None
    share: float = 0.0
    reference: Reference | None = None
    deployment: int = 0
    ledger: int = -1  # not looked yet; 0 is a ledger without any published partition
    problem: str = ""


class Follower:
    def __init__(self, every: float = 0.5, keep: Keep | None = None) -> None:
        self.now = Serving()
        self.every = every
        self.keep = keep or Keep(settings().home / "serving" / "kept")
        self._loaded: dict[tuple[Any, Any], Release] = {}
        self._stop = threading.Event()

    def start(self) -> None:
        """Follow, from a first look on: who asks is answered from what serves, or told that nothing does."""
        try:
            with connect("serving") as connection:
                self.now = self.step(connection)
        except Exception as error:  # noqa: BLE001
            self.now = self._alone(error)
        threading.Thread(target=self._follow, name="follower", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                with connect("serving") as connection:
                    connection.execute("listen serving")
                    while not self._stop.is_set():
                        self.now = self._look(connection)
                        # until something is told, or for so long
                        for _ in connection.notifies(timeout=self.every, stop_after=1):
                            pass
            except psycopg.Error as error:
                self.now = self._alone(error)
                self._stop.wait(1)

    def _look(self, connection: Connection) -> Serving:
        """A step, whatever goes wrong in it: a worker that no longer follows would answer with an old version for ever, and nobody would see it."""
        try:
            return self.step(connection)
        except psycopg.Error:
            raise
        except Exception as error:  # noqa: BLE001
            # who waits for all workers sees one that lags behind
            self._tell(connection, self.now)
            return self._alone(error)

    def _alone(self, error: Exception) -> Serving:
        """Without the warehouse, or with what nobody has thought of: what there is goes on, at a start what served before this process; its health says so."""
        now, said = self.now, f"the warehouse does not answer: {error}"
        metrics.PROBLEM.labels("deployments").set(1)
        if not isinstance(error, psycopg.Error):
            said = f"what serves cannot be followed: {type(error).__name__}: {error}"
            if said != now.problem:
                log.error(said, exc_info=error)
        if now.ledger < 0 and (release := self._last_release()) and (reference := self.keep.reference()):
            now = replace(now, release=release, reference=reference, ledger=0)
        return replace(now, problem=said)

    def _last_release(self) -> Release | None:
        """What served last, here or in the process before this one."""
        manifest = self.keep.release()
        try:
            return self._load(manifest) if manifest else None
        except (ReleaseRefused, RegistryError) as error:
            log.warning("the last release cannot be used: %s", error)
            return None

    def step(self, connection: Connection) -> Serving:
        """One look: reference data first, so that a new release never meets older ones."""
        now = replace(self.now, problem="")
        champion, candidate, newest = deployments.standing(connection)
        changed = connection.execute(CHANGED).fetchone()
        if changed and changed["id"] != now.ledger:
            now = replace(now, reference=Reference.read(connection, now.reference), ledger=changed["id"])
            assert now.reference
            self.keep.remember_reference(now.reference)
        if newest != now.deployment:
            now = self._take_up(now, champion, candidate, newest)
        self._tell(connection, now)
        metrics.PROBLEM.labels("deployments").set(bool(now.problem))
        return now

    def _tell(self, connection: Connection, now: Serving) -> None:
        """How far this worker has come: the name of its connection says it."""
        name = deployments.Worker(now.deployment, now.ledger, now.release.version if now.release else 0).name
        if connection.info.parameter_status("application_name") != name:
            connection.execute("select set_config('application_name', %s, false)", (name,))

    def _take_up(self, now: Serving, champion: dict[str, Any] | None, candidate: dict[str, Any] | None, newest: int) -> Serving:
        """What serves and what is on trial by these rows; with a problem, as much of it as passes its checks."""
        problems = []
        release, on_trial, share = now.release, None, 0.0
        try:
            release = self._load(champion["release"]) if champion else None
        except (ReleaseRefused, RegistryError) as error:
            problems.append(str(error))
            if release is None:
                release = self._last_release()
        if candidate and candidate["state"] != "registered" and release:
            try:
                on_trial, share = self._load(candidate["release"]), float(candidate["share"])
            except (ReleaseRefused, RegistryError) as error:
                problems.append(f"on trial: {error}")
        problem = "; ".join(problems)
        if problem and problem != self.now.problem:
            # it is tried again at each look, and said once
            log.warning("the older release goes on: %s", problem)
        if champion and release and release.version == champion["model_version"] and (now.release is None or now.release.version != release.version):
            logs.about["release"] = release.version
            log.info("version %s serves", release.version)
            self.keep.remember(champion["release"])
        return replace(now, release=release, candidate=on_trial, share=share, deployment=now.deployment if problem else newest, problem=problem)

    def _load(self, manifest: dict[str, Any]) -> Release:
        """From memory, from disk, or from the registry; raises ReleaseRefused or RegistryError."""
        key = (manifest.get("model_version"), manifest.get("sha256"))
        found = self._loaded.pop(key, None) or load(manifest, self.keep.model)
        # the newest last
        self._loaded[key] = found
        while len(self._loaded) > LOADED:
            self._loaded.pop(next(iter(self._loaded)))
        return found
