"""The stage `deploy`: a promoted challenger becomes what serves from the next partition on."""

import socket
import time

import httpx
from psycopg.types.json import Jsonb

from flightdeck import deployments, ledger, registry
from flightdeck.code import code_version
from flightdeck.settings import settings
from flightdeck.warehouse import connect, lock
from serving.release import load


class NotServed(RuntimeError):
    """The service did not take up what was deployed; the message says what it reports instead."""


@ledger.once("deploy", after="gate")
def deploy(attempt: ledger.Attempt) -> None:
    """Deploy what the gate promoted, or keep what serves; either way the service is ready for the next partition at the end."""
    verdict, trained = ledger.last("gate", attempt.key), ledger.last("train", attempt.key)
    if verdict is None:
        raise NotServed(f"{attempt.key} has no verdict of the gate yet")
    attempt.inputs = {"gate": verdict["attempt"], "train": trained and trained["attempt"]}
    decision = verdict["facts"]["decision"]
    if verdict["facts"].get("approval"):
        decision = _approved(attempt)
    if decision == "promoted" and trained:
        release = trained["outputs"]["release"]
        # checked before it is written down, and by the service once more before it answers
        load(release)
        _record(attempt.key, release, verdict["facts"]["reasons"])
    version = reconcile()
    attempt.facts |= {"decision": decision, "model_version": version}
    wait_until_served(version, attempt.key)


def _approved(attempt: ledger.Attempt) -> str:
    """What a person has said to the promotion; raises NotServed while nobody has."""
    answer = ledger.last("approve", attempt.key)
    if answer is None or answer["facts"]["gate"] != attempt.inputs["gate"]:
        raise NotServed(f"the promotion of {attempt.key} waits for approval: Airflow, Browse, Required Actions")
    attempt.facts |= {"approved": answer["facts"]["approved"], "by": answer["facts"]["by"]}
    return "promoted" if answer["facts"]["approved"] else "refused"


def _record(key: str, release: dict[str, object], reasons: list[str]) -> None:
    """The truth is this row; a deployment that was killed after it is not written twice."""
    with connect() as connection, lock(connection, "deployments"), connection.transaction():
        known = connection.execute("select 1 from ops.deployments where partition_key = %s and model_version = %s", (key, release["model_version"])).fetchone()
        if not known:
            connection.execute(
                "insert into ops.deployments (partition_key, model_version, state, release, reasons, code) values (%s, %s, 'champion', %s, %s, %s)",
                (key, release["model_version"], Jsonb(release), Jsonb(reasons), code_version()),
            )


def reconcile() -> int | None:
    """Make the registry's alias say what ops.deployments says; returns the version that serves, or None."""
    with connect() as connection, lock(connection, "deployments"):
        newest = deployments.champion()
        version = int(newest["model_version"]) if newest else None
        if version and registry.alias("champion") != version:
            registry.set_alias("champion", version)
        return version


def wait_until_served(version: int | None, key: str, seconds: float = 60) -> None:
    """Until each replica answers with `version` and knows the partition `key`; raises NotServed."""
    deadline, said = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            answers = [httpx.get(f"http://{replica}/health", timeout=5).json() for replica in _replicas()]
            if all(now["model_version"] == version and (now["newest_partition"] or "") >= key for now in answers):
                return
            said = str(answers)
        except (httpx.HTTPError, OSError, ValueError) as error:
            said = str(error)
        time.sleep(0.1)
    raise NotServed(f"after {seconds:.0f} s the service does not serve version {version} with {key}'s history; it says: {said}")


def _replicas() -> list[str]:
    """host:port of every process that serves: all addresses that their common name has now. Behind a load balancer one would answer for all."""
    return [f"{address}:{settings().port_serving}" for address in sorted(socket.gethostbyname_ex(settings().at("replicas"))[2])]
