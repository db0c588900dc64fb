"""The prediction log, as those see it who have got an answer: the row follows within moments, whatever is killed meanwhile."""

import time
from collections.abc import Callable
from typing import Any

from flightdeck.warehouse import connect

LOGGED = "select count(*) as n from ops.predictions where prediction_id = any(%s::uuid[])"


class NotLogged(RuntimeError):
    """Answers that were given are not in the log."""


def await_logged(identities: list[str], seconds: float = 60) -> None:
    """Until each of these predictions is in ops.predictions; raises NotLogged."""
    deadline = time.monotonic() + seconds
    with connect() as connection:
        while True:
            row = connection.execute(LOGGED, (identities,)).fetchone()
            assert row
            if row["n"] == len(identities):
                return
            if time.monotonic() > deadline:
                raise NotLogged(
                    f"{len(identities) - row['n']} of {len(identities)} answers are not in ops.predictions after {seconds:.0f} s;"
                    " GET /health of the service says what its log waits for"
                )
            time.sleep(0.05)


def logged(ask: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """A stage that asks, with the proof at its end that each answer is in the log; its facts then no longer list them."""

    def asked(key: str) -> dict[str, Any]:
        facts = ask(key)
        await_logged(facts.pop("prediction_ids", []))
        return facts

    return asked
