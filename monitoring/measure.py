"""The stage `monitor`: how a partition's inputs drifted from what the champion learned on, and how its answers did on labels that are known."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from flightdeck import deployments, ledger, site
from flightdeck.metrics import scores
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.settings import settings
from flightdeck.warehouse import query
from ml.features import FEATURES

# Which rows of a partition the report draws is settled by their keys, so that the same data give the same report.
SAMPLE = "select * from marts.features where partition_key = any(%s) order by md5(entity_id) limit %s"
COVERAGE = """
select count(*) as entities, count(*) filter (where l.known_at <= %s) as labelled, avg(l.label::int) filter (where l.known_at <= %s) as base_rate
from marts.features f left join marts.labels l using (entity_id) where f.partition_key = %s"""
ANSWERED = """
select distinct on (entity_id) p.model_version, p.probability, l.label::int as label
from ops.predictions p join marts.labels l using (entity_id)
where p.partition_key = %s and p.purpose in ('live', 'replay') and l.known_at <= %s
order by entity_id, p.logged_at"""


@ledger.once("monitor")
def measure(attempt: ledger.Attempt) -> None:
    """Measure the partition as of its closing. What is missing is null, with its reason."""
    closes = partition(attempt.key).closes
    champion = deployments.champion(before=attempt.key)
    attempt.inputs = {"transform": ledger.published(), "champion": champion and champion["model_version"]}
    attempt.facts = labels(attempt.key, closes) | performance(attempt.key, closes)
    if champion:
        attempt.facts |= drift(attempt.key, champion["release"]["partitions"])
    else:
        attempt.facts |= {"drift_share": None, "drift": "no champion yet: there is nothing to compare with"}
    site.write()


def labels(key: str, as_of: datetime) -> dict[str, Any]:
    """How many of the partition's labels are known at `as_of`, and the share of positive ones."""
    row = query(COVERAGE, as_of, as_of, key)[0]
    return {
        "entities": row["entities"],
        "labelled": row["labelled"],
        "label_coverage": row["labelled"] / row["entities"] if row["entities"] else None,
        "base_rate": None if row["base_rate"] is None else float(row["base_rate"]),
    }


def performance(key: str, as_of: datetime) -> dict[str, Any]:
    """Log loss and AUC of what was answered, on the labels known at `as_of`; overall, and for each version that answered."""
    rows = pd.DataFrame(query(ANSWERED, key, as_of), columns=["model_version", "probability", "label"])
    if rows.empty:
        return {"answered": 0, "log_loss": None, "auc": None, "performance": "nothing was asked, or no label is known yet"}
    versions = {str(version): _scores(group) for version, group in rows.groupby("model_version")}
    return {"answered": len(rows), **_scores(rows), "versions": versions}


def _scores(rows: pd.DataFrame) -> dict[str, Any]:
    found = scores(rows["label"].to_numpy(), rows["probability"].to_numpy())
    return {name: found[name] for name in ("log_loss", "auc")}


def drift(key: str, reference_keys: list[str]) -> dict[str, Any]:
    """Evidently's drift report of the partition against the champion's training partitions: HTML for people, numbers for the ledger."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    policy = parameters()["monitor"]
    definition = DataDefinition(numerical_columns=FEATURES)
    current, reference = (_sample(keys, policy["sample_rows"]) for keys in ([key], [k for k in reference_keys if k != key]))
    # a column without a single value on either side cannot be compared
    columns = [name for name in FEATURES if current[name].notna().any() and reference[name].notna().any()]
    if not columns:
        return {"drift_share": None, "drift": "one side has no rows: there is nothing to compare"}
    preset = DataDriftPreset(columns=columns, method="psi", threshold=policy["psi"])
    report = Report([preset]).run(Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition))
    folder = settings().reports / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    report.save_html(str(folder / f"{key}.html"))
    found = {entry["config"]["column"]: float(entry["value"]) for entry in report.dict()["metrics"] if "column" in entry["config"]}
    drifted = sorted(name for name, value in found.items() if value >= policy["psi"])
    return {
        "drift_share": len(drifted) / len(columns),
        "drifted": drifted,
        "psi": {name: round(value, 4) for name, value in found.items()},
        "reference": reference_keys,
        "not_compared": [name for name in FEATURES if name not in columns],
        "report": f"drift/{key}.html",
    }


def _sample(keys: list[str], rows: int) -> pd.DataFrame:
    return pd.DataFrame(query(SAMPLE, keys, rows), columns=FEATURES).astype(np.float64)
