"""The stage `decide`: does this partition call for a new training? A policy over evidence, answered with its reasons."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flightdeck import deployments, ledger
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.warehouse import query

NEW_ROWS = """
select count(*) as n from marts.labels l join ops.published p using (partition_key)
where l.known_at <= %s and l.partition_key <= %s and not l.partition_key = any(%s)"""

TRAINED = "select distinct partition_key from ops.ledger where stage = 'train' and state = 'done' and outputs ? 'release' and partition_key <= %s"

# versions that learned from rows that were erased, and nothing has been trained since
ERASED = """
select distinct each.value::int as version from ops.ledger l, jsonb_array_elements(l.outputs -> 'retrain') each
where l.stage = 'erase' and l.outputs ? 'retrain' and l.id > (
    select coalesce(max(id), 0) from ops.ledger where stage = 'train' and state = 'done' and outputs ? 'release') order by 1"""


@dataclass(frozen=True)
class Decision:
    retrain: bool
    reasons: list[str]


def decision(evidence: dict[str, Any], policy: dict[str, Any]) -> Decision:
    """Does the evidence call for a training? What is missing (None) is said, and counts neither for one nor against.

    evidence: champion (version), new_rows, since_training and age (published partitions since the last training, and that the champion has
    not seen), drift_share, prediction_psi, log_loss, own_log_loss (on the evidence that it was promoted on), estimated_log_loss,
    erased (versions that learned from rows that were erased: that outweighs all else).
    """
    if evidence.get("erased"):
        return Decision(True, [f"erasure: version {', '.join(map(str, evidence['erased']))} learned from rows that were erased since"])
    if evidence["new_rows"] < policy["min_new_rows"]:
        return Decision(False, [f"new rows: {evidence['new_rows']}, fewer than {policy['min_new_rows']}"])
    if evidence["since_training"] is not None and evidence["since_training"] < policy["cooldown"]:
        return Decision(False, [f"cooldown: {evidence['since_training']} published partition(s) since the last training, {policy['cooldown']} are waited for"])
    if evidence["champion"] is None:
        return Decision(True, ["first: there is no champion"])
    found = [*_limits(evidence, policy)]
    asks, notes = ([text for passed, text in found if passed is wanted] for wanted in (True, None))
    return Decision(bool(asks), asks + notes or ["nothing asks for it"])


def _limits(evidence: dict[str, Any], policy: dict[str, Any]) -> Iterator[tuple[bool | None, str]]:
    """(was the limit passed, or None where it cannot be said; in words) for each limit."""
    age, loss = evidence["age"], evidence["log_loss"]
    yield age >= policy["max_age"], f"age: the champion has not seen {age} published partition(s), limit {policy['max_age']}"
    for name, measured, limit in (
        ("drift", evidence["drift_share"], policy["max_drift_share"]),
        ("drift of the answers", evidence["prediction_psi"], policy["max_prediction_psi"]),
    ):
        known = measured is not None
        yield (measured > limit, f"{name}: {measured:.2f}, limit {limit}") if known else (None, f"{name}: not measured")
    for name, against in (("performance", evidence["own_log_loss"]), ("performance against its estimate", evidence["estimated_log_loss"])):
        if loss is None or against is None:
            yield None, f"{name}: no matured labels of its answers" if loss is None else f"{name}: nothing to compare it with"
        else:
            yield loss - against > policy["max_log_loss_rise"], f"{name}: log loss {loss:.4f} against {against:.4f}, limit {policy['max_log_loss_rise']}"


@ledger.once("decide")
def decide(attempt: ledger.Attempt) -> None:
    """Decide for the partition that `monitor` measured."""
    champion = deployments.champion()
    seen = champion["release"]["partitions"] if champion else []
    measured = (ledger.last("monitor", attempt.key) or {"facts": {}})["facts"]
    trained = [row["partition_key"] for row in query(TRAINED, attempt.key)]
    published = [key for key in ledger.published() if key <= attempt.key]
    own = ledger.last("gate", champion["partition_key"]) if champion else None
    evidence = {
        "champion": champion and champion["model_version"],
        "new_rows": query(NEW_ROWS, partition(attempt.key).closes, attempt.key, seen)[0]["n"],
        "age": sum(key not in seen for key in published),
        "since_training": sum(key > max(trained) for key in published) if trained else None,
        "drift_share": measured.get("drift_share"),
        "prediction_psi": measured.get("prediction_psi"),
        "log_loss": measured.get("log_loss"),
        "estimated_log_loss": (measured.get("estimate") or {}).get("log_loss"),
        "erased": [row["version"] for row in query(ERASED)],
        "own_log_loss": own and (own["facts"]["challenger"] or {}).get("log_loss"),
    }
    made = decision(evidence, parameters()["retrain"])
    attempt.facts = {"retrain": made.retrain, "reasons": made.reasons, "evidence": evidence}
