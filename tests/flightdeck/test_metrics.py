"""Metrics: calibration has a sign, segments add up, and the estimate from answers alone is right where the answers are."""

import numpy as np
import pytest

from flightdeck.metrics import by_segment, calibration_curve, estimate, scores

RANDOM = np.random.default_rng(3)
TRUE = RANDOM.beta(1.2, 3, 60_000)
LABELS = (RANDOM.random(60_000) < TRUE).astype(np.int8)


def test_calibration_is_positive_where_too_much_is_promised() -> None:
    assert scores(np.array([0, 0, 1, 1]), np.array([0.5, 0.6, 0.7, 0.8]))["calibration"] == pytest.approx(0.15)
    assert scores(LABELS, TRUE)["calibration"] == pytest.approx(0, abs=0.01)


def test_segments_add_up_to_all_rows() -> None:
    parts = {"size": np.where(TRUE > 0.3, "large", "small"), "half": np.where(np.arange(len(TRUE)) % 2, "odd", "even")}
    found = by_segment(LABELS, TRUE, parts)
    assert set(found) == {"size/large", "size/small", "half/even", "half/odd"}
    for name in parts:
        mine = {segment: each for segment, each in found.items() if segment.startswith(name)}
        assert sum(each["rows"] for each in mine.values()) == len(LABELS)
        assert sum(each["rows"] * each["log_loss"] for each in mine.values()) / len(LABELS) == pytest.approx(scores(LABELS, TRUE)["log_loss"])
    chosen = TRUE > 0.3
    assert found["size/large"] == scores(LABELS[chosen], TRUE[chosen])


def test_the_curve_has_all_rows_in_order_of_their_probability() -> None:
    curve = calibration_curve(LABELS, TRUE)
    assert sum(point["rows"] for point in curve) == len(LABELS)
    assert [point["predicted"] for point in curve] == sorted(point["predicted"] for point in curve)
    assert all(point["observed"] == pytest.approx(point["predicted"], abs=0.03) for point in curve)
    assert len(calibration_curve(LABELS[:3], TRUE[:3])) == 3


def test_the_estimate_of_right_answers_is_what_comes_true() -> None:
    found, truth = estimate(TRUE), scores(LABELS, TRUE)
    assert found["rows"] == truth["rows"]
    for name in ("base_rate", "log_loss", "auc"):
        assert found[name] == pytest.approx(truth[name], abs=0.006)


def test_the_estimate_does_not_see_that_answers_have_become_wrong() -> None:
    turned = 1 - LABELS
    assert scores(turned, TRUE)["log_loss"] > estimate(TRUE)["log_loss"] + 0.3


def test_the_estimate_stands_certain_answers() -> None:
    assert estimate([0.0, 1.0])["log_loss"] == pytest.approx(0, abs=1e-9)
    assert estimate([0.3])["auc"] == pytest.approx(0.5)
