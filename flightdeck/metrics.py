"""How good probabilities are, the same for the gate's evidence and for answers that were served."""

from typing import Any

BINS = 10


def scores(labels: Any, probabilities: Any) -> dict[str, Any]:
    """Metrics of 1-d arrays of 0/1 and floats: rows, base_rate (share of positive labels), log_loss, auc and calibration.

    auc is the area under the ROC curve, None where all labels are one; calibration the mean probability minus the share of positive labels.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    rate = float(labels.mean())
    return {
        "rows": len(labels),
        "base_rate": rate,
        "log_loss": float(log_loss(labels, probabilities, labels=[0, 1])),
        "auc": float(roc_auc_score(labels, probabilities)) if 0 < rate < 1 else None,
        "calibration": float(probabilities.mean()) - rate,
    }


def by_segment(labels: Any, probabilities: Any, segments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{"segmentation/segment": scores} for each segment of each segmentation (an array of its rows' segments)."""
    return {
        f"{name}/{segment}": scores(labels[chosen], probabilities[chosen])
        for name, of_row in segments.items()
        for segment in sorted(set(of_row.tolist()))
        for chosen in [of_row == segment]
    }


def calibration_curve(labels: Any, probabilities: Any) -> list[dict[str, float]]:
    """For each tenth of the rows, by probability: how many they are, their mean probability, and their share of positive labels."""
    import numpy as np

    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [{"rows": len(part), "predicted": float(probabilities[part].mean()), "observed": float(labels[part].mean())} for part in parts]


def estimate(probabilities: Any) -> dict[str, float]:
    """What log loss and AUC would be if each probability were right: an estimate from answers alone, before labels are there.

    Confidence-based: a row of probability p counts as p of a positive and 1-p of a negative one. It cannot see that the answers have become
    wrong, only that they have become more or less certain.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-15, 1 - 1e-15)
    both, weights = np.concatenate([p, p]), np.concatenate([p, 1 - p])
    labels = np.repeat([1, 0], len(p))
    return {
        "rows": len(p),
        "base_rate": float(p.mean()),
        "log_loss": float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean()),
        "auc": float(roc_auc_score(labels, both, sample_weight=weights)),
    }
