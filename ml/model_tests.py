"""DVC stage `test`: what a model must show beside its metric → tests.json. A model that fails is registered with its failure, and never serves.

The limits are in params.yaml. Each is one that a sound model of this data keeps by far, and that a broken one does not: labels turned over, a
column in the place of another, a constant. Whether a model is better than the one that serves is the gate's question, not this one's.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flightdeck.metrics import by_segment, scores
from ml.dataset import judged
from ml.features import FEATURES, row, segments
from ml.learners import Matrix, Model

ALONE = 50
TIMED = 200
Found = list[tuple[str, float, str, float]]


def test(workspace: Path) -> None:
    knobs, model, rows, labels = judged(workspace)
    found = results(model, rows, labels, knobs["tests"])
    (workspace / "tests.json").write_text(json.dumps(found, indent=2) + "\n")


def results(model: Model, rows: Matrix, labels: Any, limits: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"test", "value", "limit", "passed"}] of all tests but latency; the same rows and model give the same."""
    return [_judged(*each) for group in (_behaviour, _calibration, _segments) for each in group(model, rows, labels, limits)]


def _judged(name: str, value: float, sign: str, limit: float) -> dict[str, Any]:
    """`limit` is told like "<= 0.1". A value that is no number passes nothing."""
    return {"test": name, "value": value, "limit": f"{sign} {limit}", "passed": bool(value <= limit if sign == "<=" else value >= limit)}


def failures(found: list[dict[str, Any]]) -> list[str]:
    """A line for each test that did not pass."""
    return [f"{each['test']}: {each['value']:.4g}, must be {each['limit']}" for each in found if not each["passed"]]


def _behaviour(model: Model, rows: Matrix, _: Any, limits: Mapping[str, Any]) -> Found:
    """Invariance, direction, and the smallest thing that a model must know."""
    base = model.predict(rows)
    some = rows[:ALONE]
    alone = np.concatenate([model.predict(each[None, :]) for each in some])
    found = [
        ("invariance/neighbours: most that a row's answer differs alone and among others", float(np.abs(alone - base[:ALONE]).max()), "<=", 0.0),
        ("invariance/noise: mean change for what an instrument cannot tell", _mean_change(model, rows, base, limits["noise"]), "<=", limits["most_change"]),
    ]
    for name, values in limits["direction"].items():
        worse, better = (_with(rows, values[side]) for side in ("worse", "better"))
        rise = float((model.predict(worse) - model.predict(better)).mean())
        found.append((f"direction/{name}: mean rise of the risk from better to worse", rise, ">=", limits["least_rise"]))
    for name, pair in limits["smallest"].items():
        easy, hard = (float(model.predict(np.array([row(map(pair[side].get, FEATURES))]))[0]) for side in ("easy", "hard"))
        found.append((f"smallest/{name}: risk of the hard one minus that of the easy one", hard - easy, ">=", limits["least_difference"]))
    return found


def _mean_change(model: Model, rows: Matrix, base: Matrix, noise: Mapping[str, float]) -> float:
    changed = rows.copy()
    for name, size in noise.items():
        changed[:, FEATURES.index(name)] += size
    return float(np.abs(model.predict(changed) - base).mean())


def _with(rows: Matrix, values: Mapping[str, float]) -> Matrix:
    changed = rows.copy()
    for name, value in values.items():
        changed[:, FEATURES.index(name)] = value
    return changed


def _calibration(model: Model, rows: Matrix, labels: Any, limits: Mapping[str, Any]) -> Found:
    gap = abs(scores(labels, model.predict(rows))["calibration"])
    return [("calibration: mean probability against the share of positive labels", gap, "<=", limits["most_calibration_gap"])]


def _segments(model: Model, rows: Matrix, labels: Any, limits: Mapping[str, Any]) -> Found:
    """A segment with too few rows, or with labels all alike, says nothing."""
    found = by_segment(labels, model.predict(rows), segments(rows))
    return [
        (f"segment/{name}: AUC", each["auc"], ">=", limits["least_segment_auc"])
        for name, each in found.items()
        if each["rows"] >= limits["segment_rows"] and each["auc"] is not None
    ]


def latency(model: Model, rows: Matrix, limits: Mapping[str, Any]) -> dict[str, Any]:
    """One more test: a single row's time. It is apart from `results`, since no two runs measure the same."""
    taken = []
    for each in rows[:TIMED]:
        begun = time.perf_counter()
        model.predict(each[None, :])
        taken.append(time.perf_counter() - begun)
    return _judged("latency: median milliseconds of one row", median(taken) * 1000, "<=", limits["most_milliseconds"])


if __name__ == "__main__":
    test(Path.cwd())
