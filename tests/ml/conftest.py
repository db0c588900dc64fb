"""What several tests of learning need: MLflow, and months of made-up rows that the ledger calls published."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from flightdeck import ledger, stack
from flightdeck.warehouse import connect
from tests.ml.rows import insert, remove, table

Months = Callable[[list[str], int], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def mlflow(database: str) -> None:
    stack._migrate(lambda _: None)
    stack.start(["mlflow"])
    stack.wait(["mlflow"], 120)


@pytest.fixture(scope="session")
def published_months(mlflow: None) -> Months:
    """(keys, rows of each): within it, they are in the marts and published."""

    @contextmanager
    def publish(keys: list[str], rows: int) -> Iterator[None]:
        attempts = [ledger.begin("transform", key) for key in keys]
        with connect() as connection:
            for attempt in attempts:
                insert(connection, table(attempt.key, rows))
                attempt.record("published")
            yield
            for attempt in attempts:
                attempt.record("withdrawn")
            remove(connection, keys)

    return publish
