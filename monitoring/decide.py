"""The stage `decide`: does this partition call for a new training? A policy over evidence, answered with its reasons."""

from dataclasses import dataclass
from typing import Any

from flightdeck import deployments, ledger
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.warehouse import query

NEW_ROWS = """
select count(*) as n from marts.labels l join ops.published p using (partition_key)
where l.known_at <= %s and l.partition_key <= %s and not l.partition_key = any(%s)"""


@dataclass(frozen=True)
class Decision:
    retrain: bool
    reasons: list[str]


def decision(evidence: dict[str, Any], policy: dict[str, Any]) -> Decision:
    """evidence: champion, new_rows, age, drift_share, log_loss, own_log_loss. None is missing: it is said, and counts for nothing."""
    if evidence["new_rows"] < policy["min_new_rows"]:
        return Decision(False, [f"new rows: {evidence['new_rows']}, fewer than {policy['min_new_rows']}"])
    if evidence["champion"] is None:
        return Decision(True, ["first: there is no champion"])
    asks, notes = [], []
    if evidence["age"] >= policy["max_age"]:
        asks.append(f"age: the champion has not seen {evidence['age']} published partition(s), limit {policy['max_age']}")
    if evidence["drift_share"] is None:
        notes.append("drift: not measured")
    elif evidence["drift_share"] > policy["max_drift_share"]:
        asks.append(f"drift: {evidence['drift_share']:.0%} of the features, limit {policy['max_drift_share']:.0%}")
    if evidence["log_loss"] is None or evidence["own_log_loss"] is None:
        notes.append("performance: no matured labels of its answers")
    elif evidence["log_loss"] - evidence["own_log_loss"] > policy["max_log_loss_rise"]:
        rise = evidence["log_loss"] - evidence["own_log_loss"]
        asks.append(f"performance: log loss rose by {rise:.4f}, limit {policy['max_log_loss_rise']}")
    return Decision(bool(asks), asks + notes or ["nothing asks for it"])


@ledger.once("decide")
def decide(attempt: ledger.Attempt) -> None:
    """Decide for the partition that `monitor` measured."""
    champion = deployments.champion()
    seen = champion["release"]["partitions"] if champion else []
    measured = (ledger.last("monitor", attempt.key) or {"facts": {}})["facts"]
    own = ledger.last("gate", champion["partition_key"]) if champion else None
    evidence = {
        "champion": champion and champion["model_version"],
        "new_rows": query(NEW_ROWS, partition(attempt.key).closes, attempt.key, seen)[0]["n"],
        "age": sum(key not in seen and key <= attempt.key for key in ledger.published()),
        "drift_share": measured.get("drift_share"),
        "log_loss": measured.get("log_loss"),
        "own_log_loss": own and (own["facts"]["challenger"] or {}).get("log_loss"),
    }
    made = decision(evidence, parameters()["retrain"])
    attempt.facts = {"retrain": made.retrain, "reasons": made.reasons, "evidence": evidence}
