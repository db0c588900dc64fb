"""Bins that are stored, and how far values have moved from them."""

import numpy as np
import pytest

from flightdeck.shift import profile, psi, shares

RANDOM = np.random.default_rng(11)
VALUES = np.where(RANDOM.random(20_000) < 0.2, np.nan, RANDOM.normal(50, 10, 20_000))


def moved(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    reference = profile({"a": VALUES})["a"]
    return psi(reference["shares"], shares(reference["edges"], values))


def test_tenths_and_what_is_missing() -> None:
    reference = profile({"a": VALUES})["a"]
    assert len(reference["edges"]) == 9
    assert reference["shares"] == pytest.approx([0.08] * 10 + [0.2], abs=0.005)
    assert sum(reference["shares"]) == pytest.approx(1)


def test_the_same_has_not_moved_and_what_has_moved_shows() -> None:
    assert moved(VALUES) == 0
    assert moved(VALUES[:2000]) < 0.02
    assert moved(VALUES + 10) > 0.25
    # as many values, and half of them gone
    assert moved(np.where(RANDOM.random(20_000) < 0.5, np.nan, VALUES)) > 0.25


def test_few_values_constants_and_nothing_at_all_have_bins() -> None:
    codes = np.array([1.0, 1.0, 2.0, 7.0] * 100)
    reference = profile({"code": codes, "one": np.full(50, 3.0), "none": np.full(50, np.nan)})
    assert psi(reference["code"]["shares"], shares(reference["code"]["edges"], codes)) == 0
    assert psi(reference["code"]["shares"], shares(reference["code"]["edges"], np.full(50, 7.0))) > 0.25
    assert reference["none"] == {"edges": [], "shares": [0, 1]}
    assert psi(reference["one"]["shares"], shares(reference["one"]["edges"], np.full(9, 4.0))) >= 0
    assert shares([1.0], np.array([])) == [0, 0, 0]
