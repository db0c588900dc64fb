"""Tests bring their own ports and state folder: they run beside a demo, and leave nothing behind.

`database` is the embedded PostgreSQL with the world's source; `platform` is the whole stack. Both are real.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox import environment, processes

# before anything of the project is imported: settings are read once. The path is short, for the process manager's socket.
HOME = Path(tempfile.mkdtemp(prefix="fd-"))
HOME.chmod(0o711)
os.environ |= environment(str(HOME))
# Python may leave compiled files beside the code, as it does for everybody
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from flightdeck import launch, orphans, secrets, stack, transform  # noqa: E402
from flightdeck.settings import settings  # noqa: E402

os.environ |= launch.common()


def pytest_unconfigure() -> None:
    # the process that only hands files to others has a folder, too
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def settings_go_with_their_file() -> Iterator[None]:
    """A file's tests leave no setting behind for those after them."""
    before = _set()
    yield
    assert _set() == before


def _set() -> dict[str, str]:
    # where the warehouse is, dbt is told by these; it is the same one for all
    told = ("FLIGHTDECK_WAREHOUSE_HOST", "FLIGHTDECK_WAREHOUSE_PORT")
    return {name: value for name, value in os.environ.items() if name.startswith(("FLIGHTDECK_", "AWS_")) and name not in told}


@pytest.fixture
def setenv() -> Iterator[Callable[..., None]]:
    """Sets environment variables until the end of the test; the settings are read anew."""
    with pytest.MonkeyPatch.context() as patch:

        def change(**variables: str) -> None:
            for name, value in variables.items():
                patch.setenv(name, value)
            settings.cache_clear()

        yield change
    settings.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def home() -> Iterator[Path]:
    """The state folder of this run; whatever was started in it is stopped at the end."""
    for name in ("run", "logs", "reports", "work"):
        (HOME / name).mkdir(mode=0o700)
    secrets.ensure()
    yield HOME
    stack.down()
    left = [process.cmdline() for process in processes(str(HOME)) if orphans.MARK in process.environ()]
    shutil.rmtree(HOME)
    assert not left, f"`down` left processes behind: {left}"


@pytest.fixture(scope="session")
def database(home: Path) -> str:
    """PostgreSQL and the world are up, all relations exist; returns the warehouse's URL for the worker role."""
    stack.start_manager()
    stack.start(["postgres"])
    stack.wait(["postgres"], 60)
    stack.make_databases()
    stack.start(["world"])
    stack.wait(["world"], 60)
    transform.prepare()
    return settings().database_url("worker")


@pytest.fixture(scope="session")
def platform(database: str) -> None:
    """The whole stack is up and healthy."""
    stack.up(lambda _: None)
