"""What the adapters' tests share: an environment for each that needs its own, made once from its lock, and kept for the next run.

`make adapters` runs them; `make test` leaves them out. The core imports none of them.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flightdeck.settings import ROOT, settings
from ingestion.load import STAGES
from tests.adapters.through import Handler, Stations, raw
from tests.ingestion.months import ingest
from tests.ml.conftest import mlflow, published_months  # noqa: F401

KEY = "2013-01"

# outside of the state folder, which tests throw away
KEPT = Path(os.environ.get("FLIGHTDECK_ADAPTERS", ROOT / ".adapters"))


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    """The Python of an adapter's own environment, by the path of its lock in the repository; made anew when the lock has changed."""

    def python(lock: str) -> Path:
        path = ROOT / lock
        folder = KEPT / f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        uv = [str(Path(sys.executable).with_name("uv"))]
        if not (folder / ".done").exists():
            subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
            install = ["pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--require-hashes", "-r", str(path)]
            subprocess.run([*uv, *install], check=True, env=os.environ | {"UV_SYSTEM_CERTS": "true"})
            (folder / ".done").touch()
        return folder / "bin/python"

    return python


@pytest.fixture
def chosen(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Has a source read by a module, by the setting, as its user would; our own module for it fails if it is asked."""

    def choose(source: str, module: str) -> None:
        for name in ("resources", "changed"):
            monkeypatch.setattr(STAGES["ingest"][source], name, None)
        monkeypatch.setenv("FLIGHTDECK_SOURCES", json.dumps({source: module}))
        settings.cache_clear()

    yield choose
    monkeypatch.undo()
    settings.cache_clear()


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
