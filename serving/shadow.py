"""A candidate in shadow: it is asked what the champion has answered, behind the answers; what it says is logged, and never returned."""

import logging
import threading
from collections import deque
from time import perf_counter

from ml.learners import InvalidModel
from serving import answer
from serving.answer import Asking, Part
from serving.metrics import DROPPED
from serving.release import Release
from serving.spool import LogUnavailable, Spool

log = logging.getLogger("flightdeck.serving")
# answers, not requests; a shadow that is farther behind leaves out what comes then
MOST_WAITING = 20_000


class Shadow:
    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._waiting: deque[tuple[Release, Part, str]] = deque()
        self._rows = 0
        self._some = threading.Event()
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, name="shadow", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._some.set()

    def offer(self, candidate: Release, part: Part, requested_at: str) -> None:
        if self._rows + len(part.rows) > MOST_WAITING:
            DROPPED.inc(len(part.rows))
            return
        self._rows += len(part.rows)
        self._waiting.append((candidate, part, requested_at))
        self._some.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._some.wait()
            self._some.clear()
            while self._waiting and not self._stop.is_set():
                candidate, part, requested_at = self._waiting.popleft()
                self._rows -= len(part.rows)
                try:
                    self.spool.append(self.lines(candidate, part, requested_at))
                except LogUnavailable as error:
                    log.warning("a shadow's answers are not logged: %s", error)

    @staticmethod
    def lines(candidate: Release, part: Part, requested_at: str) -> bytes:
        """The log's lines of what `candidate` says."""
        asking, begun = Asking("shadow", requested_at), perf_counter()
        try:
            # in this thread the way of one row at a time is not open
            probabilities = candidate.sound(candidate.predict(part.rows))
        except InvalidModel:
            return answer.failure(candidate, part.asked, asking)
        seconds = (perf_counter() - begun) / len(part.rows)
        said = zip(answer.identities(len(part.rows)), part.asked, probabilities, strict=True)
        return answer.lines(said, candidate.version, asking, seconds, part.identities)
