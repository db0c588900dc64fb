"""The gate's verdict: each decision, and its reason."""

from typing import Any

import pytest

from ml.gate import Verdict, decide

POLICY = {"min_rows": 1000, "min_improvement": 0.0}


def metrics(log_loss: float, rows: int = 5000) -> dict[str, Any]:
    return {"log_loss": log_loss, "rows": rows, "auc": 0.7, "base_rate": 0.25}


@pytest.mark.parametrize(
    ("challenger", "champion", "decision", "reason"),
    [
        (None, None, "none", "nothing was trained"),
        (None, metrics(0.5), "none", "nothing was trained"),
        (metrics(0.9), None, "promoted", "first"),
        (metrics(0.5), metrics(0.5001), "promoted", "log loss 0.5000 against the champion's 0.5001 on 5000 unseen rows"),
        (metrics(0.5001), metrics(0.5), "refused", "log loss 0.5001 against the champion's 0.5000 on 5000 unseen rows"),
        (metrics(0.5), metrics(0.5), "refused", "log loss 0.5000 against the champion's 0.5000 on 5000 unseen rows"),
        (metrics(float("nan")), metrics(0.5), "refused", "log loss nan against the champion's 0.5000 on 5000 unseen rows"),
        (metrics(0.1, rows=999), metrics(0.5), "refused", "evidence: 999 rows, 1000 are needed"),
        (metrics(0.1, rows=999), None, "refused", "evidence: 999 rows, 1000 are needed"),
        (metrics(0.1, rows=1000), None, "promoted", "first"),
    ],
)
def test_verdict(challenger: dict[str, Any] | None, champion: dict[str, Any] | None, decision: str, reason: str) -> None:
    assert decide(challenger, champion, POLICY) == Verdict(decision, [reason])


@pytest.mark.parametrize(("gain", "decision"), [(0.001, "refused"), (0.002, "refused"), (0.0021, "promoted")])
def test_a_gain_must_be_more_than_the_policy_asks(gain: float, decision: str) -> None:
    verdict = decide(metrics(0.0), metrics(gain), POLICY | {"min_improvement": 0.002})
    assert verdict.decision == decision
