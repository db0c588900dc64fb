"""DVC stage `evaluate`: the model on the evidence that it has not seen → metrics.json, and what plots are drawn from."""

import csv
import json
from pathlib import Path
from typing import Any

from flightdeck.metrics import by_segment, calibration_curve, scores
from ml.dataset import judged
from ml.features import segments

# points of the ROC curve that are kept: more cannot be seen
POINTS = 200


def evaluate(workspace: Path) -> None:
    _, model, rows, labels = judged(workspace)
    probabilities = model.predict(rows)
    found = scores(labels, probabilities) | {"segments": by_segment(labels, probabilities, segments(rows))}
    (workspace / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
    (workspace / "plots").mkdir()
    ranked = sorted(model.importance().items(), key=lambda item: -item[1])
    _write(workspace / "plots" / "importance.csv", [{"feature": name, "share": share} for name, share in ranked])
    _write(workspace / "plots" / "calibration.csv", calibration_curve(labels, probabilities))
    _write(workspace / "plots" / "roc.csv", _roc(labels, probabilities))


def _roc(labels: Any, probabilities: Any) -> list[dict[str, float]]:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(labels, probabilities)
    step = max(1, len(false) // POINTS)
    chosen = [*range(0, len(false), step), len(false) - 1]
    return [{"false_positive_rate": float(false[place]), "true_positive_rate": float(true[place])} for place in chosen]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    evaluate(Path.cwd())
