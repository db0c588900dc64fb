"""What the manifests' tests share: kubectl and the schema checker, in an environment of their own.

`make kubernetes-test` runs them, `make test` leaves them out.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.conftest import environment  # noqa: F401

LOCK = "tests/kubernetes/requirements-checks.lock"


@pytest.fixture(scope="session")
def checks(environment: Callable[[str], Path]) -> Path:  # noqa: F811
    """The folder of the checkers' commands."""
    return environment(LOCK).parent


@pytest.fixture(scope="session")
def kubectl(checks: Path) -> Path:
    return checks / "kubectl"
