"""How good probabilities are, the same for the gate's evidence and for answers that were served."""

from typing import Any


def scores(labels: Any, probabilities: Any) -> dict[str, Any]:
    """Rows, share of positive labels, log loss, and area under the ROC curve: none where all labels are one. 1-d arrays of 0/1 and floats."""
    from sklearn.metrics import log_loss, roc_auc_score

    rate = float(labels.mean())
    auc = float(roc_auc_score(labels, probabilities)) if 0 < rate < 1 else None
    return {"rows": len(labels), "base_rate": rate, "log_loss": float(log_loss(labels, probabilities, labels=[0, 1])), "auc": auc}
