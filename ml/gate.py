"""The stage `gate`: may the challenger serve? Evidence in, decision and reasons out; nothing is changed here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flightdeck import deployments, ledger, registry
from flightdeck.metrics import scores
from flightdeck.parameters import parameters
from flightdeck.partitions import partition


@dataclass(frozen=True)
class Verdict:
    """decision: promoted | refused | none; with the reasons, most important first."""

    decision: str
    reasons: list[str]


def decide(challenger: dict[str, Any] | None, champion: dict[str, Any] | None, policy: dict[str, Any]) -> Verdict:
    """Judge two models by their metrics on the same evidence, which neither was trained on. None: there is no such model."""
    if challenger is None:
        return Verdict("none", ["nothing was trained"])
    if challenger["rows"] < policy["min_rows"]:
        return Verdict("refused", [f"evidence: {challenger['rows']} rows, {policy['min_rows']} are needed"])
    if champion is None:
        return Verdict("promoted", ["first"])
    gain = champion["log_loss"] - challenger["log_loss"]
    reason = f"log loss {challenger['log_loss']:.4f} against the champion's {champion['log_loss']:.4f} on {challenger['rows']} unseen rows"
    return Verdict("promoted" if gain > policy["min_improvement"] else "refused", [reason])


@ledger.once("gate")
def gate(attempt: ledger.Attempt) -> None:
    """Judge the challenger that `train` made for the partition."""
    trained = ledger.last("train", attempt.key)
    release = (trained or {"outputs": {}})["outputs"].get("release")
    serving = (deployments.champion() or {}).get("release")
    attempt.inputs = {"challenger": release and release["model_version"], "champion": serving and serving["model_version"]}
    found = _metrics(attempt.key, [release, serving]) if release else [None, None]
    verdict = decide(found[0], found[1], parameters()["gate"])
    # where nothing was trained, the reason is the one that kept it from being trained
    reasons = trained["facts"]["reasons"] if trained and verdict.decision == "none" else verdict.reasons
    attempt.facts = {"decision": verdict.decision, "reasons": reasons, "challenger": found[0], "champion": found[1]}


def _metrics(key: str, releases: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
    """Each release's metrics on the evidence of `key`; the model files come from the registry and must be the released ones."""
    import lightgbm as lgb

    from ml.dataset import matrix, read, split

    _, evidence = split(read(key, partition(key).closes.isoformat()), parameters()["snapshot"]["holdout_days"])
    rows, labels = matrix(evidence), evidence["label"].to_numpy()
    found: list[dict[str, Any] | None] = []
    for release in releases:
        booster = release and lgb.Booster(model_str=registry.model(release).decode())
        found.append(scores(labels, np.asarray(booster.predict(rows))) if booster else None)
    return found
