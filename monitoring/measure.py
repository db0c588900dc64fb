"""The stages `drift`, `estimate` and `monitor`: how a partition's inputs drifted, what its answers alone tell, and how they did on known labels."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from flightdeck import deployments, ledger, site
from flightdeck.metrics import by_segment, scores
from flightdeck.metrics import estimate as expected
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.settings import settings
from flightdeck.warehouse import query, table
from ml.features import FEATURES, SEGMENTED, segments
from ml.learners import load

# Which rows of a partition the report draws is settled by their keys, so that the same data give the same report.
SAMPLE = "select * from marts.features where partition_key = any(%s) order by md5(entity_id) limit %s"
COVERAGE = """
select count(*) as entities, count(*) filter (where l.known_at <= %s) as labelled, count(*) filter (where l.known_at <= %s) as labelled_at_end,
    (avg(l.label::int) filter (where l.known_at <= %s))::float as base_rate, max(l.known_at) as last_known
from marts.features f left join marts.labels l using (entity_id, partition_key) where f.partition_key = %s"""
# the first answer to each instance: what was asked again later was no news to whoever asked
ANSWERS = """
select distinct on (entity_id) entity_id, model_version, probability from ops.predictions
where partition_key = %s and purpose in ('live', 'replay') order by entity_id, logged_at"""
JUDGED = f"""
select a.model_version, a.probability, l.label::int as label, {", ".join(f"f.{name}" for name in SEGMENTED)}
from ({ANSWERS}) a join marts.labels l using (entity_id) join marts.features f using (entity_id) where l.known_at <= %s order by entity_id"""
COMPARED = f"""
select {", ".join(f"f.{name}" for name in FEATURES)}, l.label::int as label
from ({ANSWERS}) a join marts.labels l using (entity_id) join marts.features f using (entity_id) where l.known_at <= %s order by entity_id"""
# the model's answer, as a column of the drift report
ANSWER = "probability"
FIGURES = ("log_loss", "auc", "calibration")


def monitor(key: str | None) -> None:
    """The stages that need answers, in the order that keeps the estimate honest."""
    estimate(key)
    measure(key)


@ledger.once("drift")
def compare(attempt: ledger.Attempt) -> None:
    """The partition against what its champion was trained on. No answer and no label is read: it can be done while the answers are asked for."""
    champion = deployments.champion(before=attempt.key)
    attempt.inputs = {"champion": champion and champion["model_version"]}
    if champion:
        attempt.facts = drift(attempt.key, champion["release"])
    else:
        attempt.facts = _no_drift("no champion yet: there is nothing to compare with")


@ledger.once("estimate")
def estimate(attempt: ledger.Attempt) -> None:
    """What performance to expect from the answers alone. No label is read: it is scored by `monitor`, once they are there."""
    answers = table(f"select probability from ({ANSWERS}) answers", attempt.key)["probability"].to_numpy()
    attempt.facts["answered"] = len(answers)
    if len(answers):
        attempt.facts |= expected(answers)
    else:
        attempt.facts["reason"] = "nothing was asked, so there is nothing to go by"


@ledger.once("monitor")
def measure(attempt: ledger.Attempt) -> None:
    """Measure the partition as of its closing. What is missing is null, with its reason."""
    closes = partition(attempt.key).closes
    champion = deployments.champion(before=attempt.key)
    attempt.inputs = {"transform": ledger.published(), "champion": champion and champion["model_version"]}
    attempt.facts = labels(attempt.key, closes) | performance(attempt.key, closes) | {"frozen": frozen(attempt.key, closes)}
    expected_before = ledger.last("estimate", attempt.key)
    attempt.facts["estimate"] = {name: expected_before["facts"].get(name) for name in ("log_loss", "auc", "base_rate")} if expected_before else None
    drifted = ledger.last("drift", attempt.key)
    attempt.facts |= drifted["facts"] if drifted else _no_drift("not measured")
    site.write()


def labels(key: str, as_of: datetime) -> dict[str, Any]:
    """How many of the partition's labels are known at `as_of` and were at its end, when the last one was, and the share of positive ones."""
    row = query(COVERAGE, as_of, partition(key).end, as_of, key)[0]
    entities = row["entities"]
    return {
        "entities": entities,
        "labelled": row["labelled"],
        "label_coverage": row["labelled"] / entities if entities else None,
        "label_coverage_at_end": row["labelled_at_end"] / entities if entities else None,
        "last_label_at": row["last_known"] and row["last_known"].isoformat(),
        "base_rate": row["base_rate"],
    }


def performance(key: str, as_of: datetime) -> dict[str, Any]:
    """Log loss, AUC and calibration of what was answered, on the labels known at `as_of`; overall, by segment, and for each version that answered."""
    rows = table(JUDGED, key, as_of).to_pandas()
    if rows.empty:
        return {"answered": 0, **dict.fromkeys(FIGURES), "performance": "nothing was asked, or no label is known yet"}
    versions = {str(version): _scores(group) for version, group in rows.groupby("model_version")}
    return {"answered": len(rows), **_scores(rows), "versions": versions}


def _scores(rows: pd.DataFrame) -> dict[str, Any]:
    outcome, answers = rows["label"].to_numpy(), rows["probability"].to_numpy()
    parts = by_segment(outcome, answers, segments(rows[SEGMENTED].to_numpy(np.float64), SEGMENTED))
    found = scores(outcome, answers)
    return {name: found[name] for name in FIGURES} | {"segments": parts}


def frozen(key: str, as_of: datetime) -> dict[str, Any] | None:
    """What the model that was deployed at the end of `monitor.frozen_after`, and never replaced, would have done on the same instances."""
    since = parameters()["monitor"]["frozen_after"]
    # a month may be named where partitions are its days: all that begin like it are in it
    end = since and f"{since}~"
    deployed = deployments.champion(before=end)
    if not end or key < end or not deployed:
        return None
    rows = table(COMPARED, key, as_of).to_pandas()
    if rows.empty or deployed["release"]["features"] != FEATURES:
        return None
    found = scores(rows["label"].to_numpy(), load(deployed["release"]).predict(rows[FEATURES].to_numpy(np.float64)))
    return {"model_version": deployed["model_version"], **{name: found[name] for name in FIGURES}}


def drift(key: str, release: dict[str, Any]) -> dict[str, Any]:
    """Evidently's report of the partition against what the champion was trained on, its answers included: HTML for people, numbers for the ledger."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    policy, rows = parameters()["monitor"], parameters()["monitor"]["sample_rows"]
    sides = [_sample(keys, rows) for keys in ([key], [each for each in release["partitions"] if each != key])]
    told = [*FEATURES]
    if release["features"] == FEATURES and all(len(side) for side in sides):
        model = load(release)
        for side in sides:
            side[ANSWER] = model.predict(side[FEATURES].to_numpy(np.float64))
        told.append(ANSWER)
    # a column without a single value on either side cannot be compared
    columns = [name for name in told if all(side[name].notna().any() for side in sides)]
    if not columns:
        return _no_drift("one side has no rows: there is nothing to compare")
    definition = DataDefinition(numerical_columns=columns)
    preset = DataDriftPreset(columns=columns, method="psi", threshold=policy["psi"])
    report = Report([preset]).run(*(Dataset.from_pandas(side[columns], definition) for side in sides))
    folder = settings().reports / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    report.save_html(str(folder / f"{key}.html"))
    found = {entry["config"]["column"]: float(entry["value"]) for entry in report.dict()["metrics"] if "column" in entry["config"]}
    prediction = found.pop(ANSWER, None)
    drifted = sorted(name for name, value in found.items() if value >= policy["psi"])
    return {
        "drift_share": len(drifted) / len(found),
        "drifted": drifted,
        "prediction_psi": prediction,
        "psi": {name: round(value, 4) for name, value in found.items()},
        "reference": release["partitions"],
        "not_compared": [name for name in FEATURES if name not in columns],
        "report": f"drift/{key}.html",
    }


def _no_drift(reason: str) -> dict[str, Any]:
    return {"drift_share": None, "prediction_psi": None, "drift": reason}


def _sample(keys: list[str], rows: int) -> pd.DataFrame:
    return table(SAMPLE, keys, rows).to_pandas()[FEATURES].astype(np.float64)
