"""A real month, loaded once for all tests of this folder: the shortest, with the year's one impossible row."""

import pytest

from flightdeck.warehouse import Row
from tests.ingestion.months import ingest

KEY = "2013-02"


@pytest.fixture(scope="session")
def february(database: str) -> Row:
    """The ledger's row of 2013-02, published by this fixture."""
    return ingest(KEY)
