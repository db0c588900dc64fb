"""The world's own command line, on the running world; whatever a test injects is healed after it."""

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from world.__main__ import main

Command = Callable[..., str]


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def world(database: str) -> Iterator[Command]:
    """`python -m world` with these arguments; returns what it says."""
    yield _run
    _run("heal")
