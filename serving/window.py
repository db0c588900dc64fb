"""The service's last answers, held against what their model was trained on: drift of each feature, what is missing, and where the answers lie.

Answering only hands over what it has at hand; it is counted behind the answers, by the bins that came with the release.
"""

import threading
from collections import deque

import numpy as np

from flightdeck import shift
from ml.features import FEATURES
from serving import metrics
from serving.answer import Part
from serving.release import Release

# rows, of each worker; and so many are needed before anything is said
LAST, LEAST = 5000, 500
QUANTILES = (0.1, 0.5, 0.9)
ANSWER = "probability"


class Window:
    def __init__(self, every: float = 10.0, last: int = LAST) -> None:
        self.every = every
        self.last = last
        # as they were answered; `_held` rows in all, of which the newest `last` count
        self._parts: deque[tuple[Release, list[list[float]], list[float]]] = deque()
        self._held, self._seen, self._new = 0, 0, 0
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="window", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def add(self, part: Part) -> None:
        self._parts.append((part.release, part.rows, part.probabilities))
        self._held += len(part.rows)
        while self._held - (oldest := len(self._parts[0][1])) >= self.last:
            self._parts.popleft()
            self._held -= oldest
        self._new += len(part.rows)

    def _follow(self) -> None:
        while not self._stop.wait(self.every):
            if self._new != self._seen:
                self._seen = self._new
                self.measure()

    def measure(self) -> None:
        """Set the gauges from the rows of the newest release among them; with too few of those they say nothing."""
        parts = list(self._parts)
        release = parts[-1][0]
        rows = [(by, *answered) for by, values, found in parts for answered in zip(values, found, strict=True)][-self.last :]
        own = [(row, probability) for by, row, probability in rows if by is release]
        metrics.WINDOW_ROWS.set(len(own))
        if len(own) < LEAST or not release.profile:
            return
        values = np.array([row for row, _ in own], dtype=np.float64)
        columns = dict(zip(FEATURES, values.T, strict=True)) | {ANSWER: np.array([probability for _, probability in own])}
        for name, reference in release.profile.items():
            found = shift.shares(reference["edges"], columns[name])
            moved = shift.psi(reference["shares"], found)
            if name == ANSWER:
                metrics.ANSWER_PSI.set(moved)
                continue
            metrics.INPUT_PSI.labels(name).set(moved)
            metrics.INPUT_MISSING.labels(name).set(found[-1])
            metrics.INPUT_MISSING_BEFORE.labels(name).set(reference["shares"][-1])
        for quantile, value in zip(QUANTILES, np.quantile(columns[ANSWER], QUANTILES).tolist(), strict=True):
            metrics.ANSWERS.labels(f"{quantile:g}").set(value)
