"""The gate's verdict: each decision in each mode, and its reason."""

from typing import Any

import pytest

from ml.gate import Evidence, Verdict, decide

POLICY = {"mode": "on", "min_rows": 1000, "min_improvement": 0.0, "segment_rows": 500, "max_segment_loss": 0.02, "max_calibration_gap": 0.1}
BETTER = "log loss 0.5000 against the champion's 0.5001 on 5000 unseen rows"
WORSE = "log loss 0.5001 against the champion's 0.5000 on 5000 unseen rows"


def metrics(log_loss: float, rows: int = 5000, calibration: float = 0.0, **segments: float) -> dict[str, Any]:
    parts = {f"origin/{name}": {"log_loss": value, "rows": 800 if name != "small" else 499} for name, value in segments.items()}
    return {"log_loss": log_loss, "rows": rows, "auc": 0.7, "base_rate": 0.25, "calibration": calibration, "segments": parts}


@pytest.mark.parametrize(
    ("challenger", "champion", "decision", "reason"),
    [
        (None, None, "none", "nothing was trained"),
        (None, metrics(0.5), "none", "nothing was trained"),
        (metrics(0.9), None, "promoted", "first"),
        (metrics(0.5), metrics(0.5001), "promoted", BETTER),
        (metrics(0.5001), metrics(0.5), "refused", WORSE),
        (metrics(0.5), metrics(0.5), "refused", "log loss 0.5000 against the champion's 0.5000 on 5000 unseen rows"),
        (metrics(float("nan")), metrics(0.5), "refused", "log loss nan against the champion's 0.5000 on 5000 unseen rows"),
        (metrics(0.1, rows=999), metrics(0.5), "refused", "evidence: 999 rows, 1000 are needed"),
        ({"rows": 0, "segments": {}}, metrics(0.5), "refused", "evidence: 0 rows, 1000 are needed"),
        (metrics(0.1, rows=999), None, "refused", "evidence: 999 rows, 1000 are needed"),
        (metrics(0.1, rows=1000), None, "promoted", "first"),
        # off by more than the limit, and by more than the champion, in either direction
        (metrics(0.5, calibration=0.11), None, "refused", "calibration: mean probability +0.1100 off, limit 0.1"),
        (metrics(0.5, calibration=-0.11), metrics(0.6, calibration=0.11), "refused", "calibration: mean probability -0.1100 off, limit 0.1"),
        (metrics(0.5, calibration=-0.2), metrics(0.5001, calibration=0.21), "promoted", BETTER),
        (metrics(0.5, calibration=0.1), metrics(0.5001), "promoted", BETTER),
        # a segment may lose a little, and one with few rows says nothing
        (metrics(0.5, JFK=0.515), metrics(0.5001, JFK=0.5), "promoted", BETTER),
        (metrics(0.5, JFK=0.521, LGA=0.4), metrics(0.5001, JFK=0.5, LGA=0.5), "refused", "segment origin/JFK: log loss 0.5210 against 0.5000 on 800 rows"),
        (metrics(0.5, JFK=float("nan")), metrics(0.5001, JFK=0.5), "refused", "segment origin/JFK: log loss nan against 0.5000 on 800 rows"),
        (metrics(0.5, small=0.9), metrics(0.5001, small=0.1), "promoted", BETTER),
        (metrics(0.5, JFK=0.9), metrics(0.5001), "promoted", BETTER),
    ],
)  # fmt: skip
def test_verdict(challenger: dict[str, Any] | None, champion: dict[str, Any] | None, decision: str, reason: str) -> None:
    assert decide(Evidence(challenger, champion), POLICY) == Verdict(decision, [reason])


def test_all_that_speaks_against_it_is_said() -> None:
    verdict = decide(Evidence(metrics(0.6, calibration=0.3, JFK=0.7), metrics(0.5, JFK=0.5)), POLICY)
    assert verdict.decision == "refused"
    assert [reason.split()[0] for reason in verdict.reasons] == ["log", "calibration:", "segment"]


@pytest.mark.parametrize(("gain", "decision"), [(0.001, "refused"), (0.002, "refused"), (0.0021, "promoted")])
def test_a_gain_must_be_more_than_the_policy_asks(gain: float, decision: str) -> None:
    verdict = decide(Evidence(metrics(0.0), metrics(gain)), POLICY | {"min_improvement": 0.002})
    assert verdict.decision == decision


def test_a_champion_that_has_seen_the_evidence_cannot_be_judged_on_it() -> None:
    verdict = decide(Evidence(metrics(0.1), metrics(0.5), champion_seen="2013-07"), POLICY)
    assert verdict == Verdict("refused", ["evidence: the champion was trained on it, up to 2013-07"])


def test_a_champion_of_other_features_is_replaced_and_the_reason_says_so() -> None:
    verdict = decide(Evidence(metrics(0.5), None, champion_note="the champion was trained on other features"), POLICY)
    assert verdict == Verdict("promoted", ["the champion was trained on other features"])


@pytest.mark.parametrize("mode", ["on", "dry-run", "off"])
def test_a_model_test_that_failed_refuses_in_each_mode(mode: str) -> None:
    verdict = decide(Evidence(metrics(0.1), metrics(0.5), ["direction/rain: -0.1, must be >= 0"]), POLICY | {"mode": mode})
    assert verdict == Verdict("refused", ["model test: direction/rain: -0.1, must be >= 0"])


def test_a_dry_run_promotes_and_says_what_would_have_been() -> None:
    policy = POLICY | {"mode": "dry-run"}
    assert decide(Evidence(metrics(0.5001), metrics(0.5)), policy) == Verdict("promoted", [f"dry run, would have been refused: {WORSE}"])
    assert decide(Evidence(metrics(0.5), metrics(0.5001)), policy) == Verdict("promoted", [BETTER])


def test_a_gate_that_is_off_looks_at_nothing() -> None:
    policy = POLICY | {"mode": "off"}
    assert decide(Evidence(metrics(0.9, rows=1), metrics(0.5)), policy) == Verdict("promoted", ["the gate is off"])
    assert decide(Evidence(None), policy) == Verdict("none", ["nothing was trained"])


@pytest.mark.parametrize(("bare", "mode"), [(True, "on"), (False, "off")])
def test_a_mode_without_quotes_is_the_same(bare: bool, mode: str) -> None:
    evidence = Evidence(metrics(0.9), metrics(0.5))
    assert decide(evidence, POLICY | {"mode": bare}) == decide(evidence, POLICY | {"mode": mode})


def test_a_mode_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"gate\.mode: 'of' is not one of on, dry-run, off"):
        decide(Evidence(metrics(0.9)), POLICY | {"mode": "of"})
