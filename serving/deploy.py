"""The stage `deploy`: a promoted challenger becomes what serves from the next partition on."""

from flightdeck import deployments, evidence, ledger, registry
from flightdeck.warehouse import connect, lock
from serving.rollout import roll_out
from serving.workers import NotServed, await_workers


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
        if trained:
            word = {"partition_key": attempt.key, "approved": attempt.facts["approved"], "by": attempt.facts["by"]}
            evidence.keep_facts(trained["outputs"]["release"], f"approval-{trained['attempt']}", word)
    if decision == "promoted" and trained:
        release = trained["outputs"]["release"]
        if against := roll_out(attempt, release, verdict["facts"]["reasons"]):
            decision = "rolled back"
            attempt.facts["reasons"] = against
    version = reconcile()
    attempt.facts |= {"decision": decision, "model_version": version}
    with connect() as connection:
        await_workers(connection, deployments.standing(connection)[2], attempt.key)


def _approved(attempt: ledger.Attempt) -> str:
    """What a person has said to the promotion; raises NotServed while nobody has."""
    answer = ledger.last("approve", attempt.key)
    if answer is None or answer["facts"]["gate"] != attempt.inputs["gate"]:
        raise NotServed(f"the promotion of {attempt.key} waits for approval: Airflow, Browse, Required Actions")
    attempt.facts |= {"approved": answer["facts"]["approved"], "by": answer["facts"]["by"]}
    return "promoted" if answer["facts"]["approved"] else "refused"


def reconcile() -> int | None:
    """Make the registry's alias say what ops.deployments says; returns the version that serves, or None."""
    with connect() as connection, lock(connection, "deployments"):
        newest = deployments.champion()
        version = int(newest["model_version"]) if newest else None
        if version and registry.alias("champion") != version:
            registry.set_alias("champion", version)
        return version
