"""The stage `gate`: may the challenger serve? Evidence in, decision and reasons out; nothing is changed here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flightdeck import deployments, ledger
from flightdeck.evidence import keep_facts
from flightdeck.metrics import by_segment, scores
from flightdeck.parameters import parameters
from flightdeck.partitions import partition

MODES = ["on", "dry-run", "off"]


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at: both models' scores on the same rows, which neither was trained on, with those by segment.

    None: there is no such model. `failures` are the model tests that the challenger has not passed; `champion_seen` is the champion's newest
    partition when that is a later one, so that it may have been trained on these rows.
    """

    challenger: Mapping[str, Any] | None
    champion: Mapping[str, Any] | None = None
    failures: list[str] = field(default_factory=list)
    champion_note: str = ""
    champion_seen: str = ""


@dataclass(frozen=True)
class Verdict:
    """decision: promoted | refused | none; with the reasons, most important first."""

    decision: str
    reasons: list[str]


def decide(evidence: Evidence, policy: Mapping[str, Any]) -> Verdict:
    """Judge a challenger. A model test that failed refuses it in each mode; all else only where the mode is `on`."""
    # YAML reads a bare on or off as true or false
    mode = {True: "on", False: "off"}.get(policy["mode"], policy["mode"])
    if mode not in MODES:
        raise ValueError(f"gate.mode: {mode!r} is not one of {', '.join(MODES)}")
    if evidence.challenger is None:
        return Verdict("none", ["nothing was trained"])
    if evidence.failures:
        return Verdict("refused", [f"model test: {failure}" for failure in evidence.failures])
    if mode == "off":
        return Verdict("promoted", ["the gate is off"])
    judged = _judged(evidence.challenger, evidence, policy)
    if mode == "dry-run" and judged.decision == "refused":
        return Verdict("promoted", [f"dry run, would have been refused: {judged.reasons[0]}", *judged.reasons[1:]])
    return judged


def _judged(challenger: Mapping[str, Any], evidence: Evidence, policy: Mapping[str, Any]) -> Verdict:
    if challenger["rows"] < policy["min_rows"]:
        return Verdict("refused", [f"evidence: {challenger['rows']} rows, {policy['min_rows']} are needed"])
    if evidence.champion_seen:
        return Verdict("refused", [f"evidence: the champion was trained on it, up to {evidence.champion_seen}"])
    champion = evidence.champion
    gap = abs(challenger["calibration"])
    # a month that nobody could have foreseen is no fault of the challenger's, as long as the champion is further off
    off = gap > policy["max_calibration_gap"] and (champion is None or gap >= abs(champion["calibration"]))
    bad = [f"calibration: mean probability {challenger['calibration']:+.4f} off, limit {policy['max_calibration_gap']}"] if off else []
    if champion is None:
        return Verdict("refused", bad) if bad else Verdict("promoted", [evidence.champion_note or "first"])
    gain = champion["log_loss"] - challenger["log_loss"]
    overall = f"log loss {challenger['log_loss']:.4f} against the champion's {champion['log_loss']:.4f} on {challenger['rows']} unseen rows"
    # `not >`: a loss that is no number is no gain
    worse = [overall] if not gain > policy["min_improvement"] else []
    return Verdict("refused", reasons) if (reasons := worse + bad + _lost(challenger, champion, policy)) else Verdict("promoted", [overall])


def _lost(challenger: Mapping[str, Any], champion: Mapping[str, Any], policy: Mapping[str, Any]) -> list[str]:
    """The segments in which the challenger is worse than the policy lets it be."""
    found = []
    for name, mine in challenger.get("segments", {}).items():
        other = champion["segments"].get(name)
        if other and mine["rows"] >= policy["segment_rows"] and not mine["log_loss"] - other["log_loss"] <= policy["max_segment_loss"]:
            found.append(f"segment {name}: log loss {mine['log_loss']:.4f} against {other['log_loss']:.4f} on {mine['rows']} rows")
    return found


@ledger.once("gate", after="train")
def gate(attempt: ledger.Attempt) -> None:
    """Judge the challenger that `train` made for the partition."""
    trained = ledger.last("train", attempt.key)
    release = (trained or {"outputs": {}})["outputs"].get("release")
    serving = (deployments.champion() or {}).get("release")
    attempt.inputs = {"challenger": release and release["model_version"], "champion": serving and serving["model_version"]}
    evidence = gather(attempt.key, release, serving)
    policy = parameters()["gate"]
    verdict = decide(evidence, policy)
    # where nothing was trained, the reason is the one that kept it from being trained
    reasons = trained["facts"]["reasons"] if trained and verdict.decision == "none" else verdict.reasons
    attempt.facts = {"decision": verdict.decision, "reasons": reasons, "challenger": evidence.challenger, "champion": evidence.champion, "mode": policy["mode"]}
    attempt.facts["approval"] = policy["approval"] and verdict.decision == "promoted"
    if trained and release:
        sides = {"challenger": _named(release, evidence.challenger), "champion": _named(serving, evidence.champion)}
        # the number is of the training that it answers: done again, it is the same file
        keep_facts(release, f"gate-{trained['attempt']}", {"partition_key": attempt.key, "train": trained["attempt"], **attempt.facts, **sides})


def _named(release: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A side's scores, with its version."""
    return {"model_version": release["model_version"], **found} if release and found else None


def unable(champion: Mapping[str, Any]) -> str:
    """Why this release cannot answer with this code; empty if it can."""
    from ml.features import FEATURES

    able = champion["features"] == FEATURES
    return "" if able else f"the champion, version {champion['model_version']}, was trained on other features, and cannot answer with this code"


def gather(key: str, release: dict[str, Any] | None, serving: dict[str, Any] | None) -> Evidence:
    """Both releases' scores on the evidence of `key`; the model files come from the registry and must be the released ones."""
    if release is None:
        return Evidence(None)
    note = unable(serving) if serving else ""
    if serving is None or note:
        return Evidence(_scores(key, [release])[0], None, release["failures"], note)
    found = _scores(key, [release, serving])
    seen = max(serving["partitions"], default="")
    return Evidence(found[0], found[1], release["failures"], champion_seen=seen if seen > key else "")


def _scores(key: str, releases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from ml.dataset import matrix, read, split
    from ml.features import segments
    from ml.learners import load

    _, evidence = split(read(key, partition(key).closes.isoformat()), parameters()["snapshot"]["holdout_days"])
    rows, labels = matrix(evidence), evidence["label"].to_numpy()
    if not len(rows):
        return [{"rows": 0, "segments": {}} for _ in releases]
    parts = segments(rows)
    answers = [load(release).predict(rows) for release in releases]
    return [scores(labels, answer) | {"segments": by_segment(labels, answer, parts)} for answer in answers]
