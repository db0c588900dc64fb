"""How far values have moved from those of a reference, by bins that were stored with it: the population stability index, with missing as a bin of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 10
# a bin that nobody is in would make it infinite
LEAST = 1e-4


def profile(columns: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """{name: {"edges", "shares"}} of 1-d arrays of floats: tenths of the values that are there, and last the share of those that are missing."""
    return {name: {"edges": (edges := _edges(values)), "shares": shares(edges, values)} for name, values in columns.items()}


def _edges(values: Any) -> list[float]:
    there = values[~np.isnan(values)]
    found: list[float] = np.unique(np.quantile(there, np.arange(1, BINS) / BINS)).tolist() if len(there) else []
    return found


def shares(edges: Sequence[float], values: Any) -> list[float]:
    """Of all values, the share below the first edge, between each and the next, from the last on, and of those that are missing."""
    missing = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~missing], side="right"), minlength=len(edges) + 1)
    found: list[float] = (np.append(counts, missing.sum()) / max(len(values), 1)).tolist()
    return found


def psi(reference: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index of two lists of shares: 0 where they are the same; from 0.25 on much has moved."""
    before, now = np.maximum(reference, LEAST), np.maximum(found, LEAST)
    return float(np.sum((now - before) * np.log(now / before)))
