"""A real month's marts, and a small partition after it."""

from collections.abc import Iterator

import pytest

from flightdeck.warehouse import Row
from tests.dbt_project.months import five_flights, real_months

# far from all data
SMALL = "2015-01"


@pytest.fixture(scope="package")
def real(database: str) -> Iterator[Row]:
    """A real month, all of it, after another; the ledger's row of its transformation."""
    with real_months() as row:
        yield row


@pytest.fixture
def small(real: Row) -> Iterator[str]:
    """A partition of five flights, built and published; taken back at the end."""
    with five_flights(SMALL, 426) as key:
        yield key
