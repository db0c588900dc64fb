"""What the adapters' tests share.

`make adapters` runs them; `make test` leaves them out. The core imports none of them.
"""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion.load import STAGES
from tests.adapters.environments import python
from tests.adapters.through import Handler, Stations, raw
from tests.ingestion.months import ingest
from tests.ml.conftest import mlflow, published_months  # noqa: F401

KEY = "2013-01"


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    """The Python of an adapter's own environment, by the path of its lock in the repository."""
    return python


@pytest.fixture
def chosen(database: str, setenv: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Has a source read by a module, by the setting, as its user would; our own module for it fails if it is asked."""

    def choose(source: str, module: str) -> None:
        for name in ("resources", "changed"):
            monkeypatch.setattr(STAGES["ingest"][source], name, None)
        setenv(FLIGHTDECK_SOURCES=json.dumps({source: module}))

    return choose


@pytest.fixture
def bad_stations(database: str) -> Iterator[Stations]:
    """The stations' API, with whatever fault is set on it."""
    with Stations(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def ours(database: str) -> dict[str, tuple[str | None, int]]:
    """What is in raw and in quarantine when our own sources have read the month."""
    ingest(KEY)
    return raw(KEY)
