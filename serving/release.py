"""The unit of serving: a model file with its checksum, features, and golden rows. It is checked before it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.features import FEATURES, MISSING
from ml.learners import InvalidModel, Model
from ml.learners import load as load_model


class ReleaseRefused(RuntimeError):
    """A release that must not serve; the message says which of its promises does not hold."""


@dataclass(frozen=True)
class Release:
    version: int
    model: Model
    golden: dict[str, Any]
    # what it was trained on, by flightdeck/shift.py; empty for a release from before there were any
    profile: dict[str, Any] = field(default_factory=dict)

    def predict(self, rows: list[list[float]]) -> list[float]:
        """Probabilities for rows of len(FEATURES) floats."""
        found: list[float] = self.model.predict(np.array(rows, dtype=np.float64)).tolist()
        return found

    def probabilities(self, rows: list[list[float]]) -> list[float]:
        """The same, and each is one; for the service's own thread. Raises InvalidModel."""
        return self.sound([self.model.one(rows[0])] if len(rows) == 1 else self.predict(rows))

    def sound(self, found: list[float]) -> list[float]:
        """Raises InvalidModel where what was found is no probability."""
        # which is never true of what is not a number
        if not (min(found) >= 0 and max(found) <= 1):
            raise InvalidModel(f"version {self.version} answers with what is no probability")
        return found

    def gives_golden_answers(self) -> bool:
        """Whether the rows that the release came with have the answers that they had when it was made, bit for bit."""
        rows = [[MISSING if value is None else value for value in row] for row in self.golden["rows"]]
        # both ways in which requests are answered
        return bool(self.predict(rows) == self.golden["expected"] == [self.model.one(row) for row in rows])


def load(manifest: dict[str, Any], fetch: Callable[[dict[str, Any]], bytes] | None = None) -> Release:
    """Fetch and check the release that `manifest` (ops.deployments.release) describes; raises ReleaseRefused or RegistryError."""
    try:
        return _checked(manifest, fetch)
    except (InvalidModel, ValueError, KeyError) as error:
        raise ReleaseRefused(f"version {manifest.get('model_version')} cannot be used: {type(error).__name__}: {error}") from error


def _checked(manifest: dict[str, Any], fetch: Callable[[dict[str, Any]], bytes] | None) -> Release:
    version = manifest["model_version"]
    if manifest["features"] != FEATURES:
        raise ReleaseRefused(f"version {version} expects other features than this code makes: {manifest['features']}")
    release = Release(version, load_model(manifest, fetch), manifest["golden"], manifest.get("profile", {}))
    if release.model.features != FEATURES:
        raise ReleaseRefused(f"the file of version {version} was trained on other features: {release.model.features}")
    if not release.gives_golden_answers():
        raise ReleaseRefused(f"version {version} does not give its golden answers here")
    return release
