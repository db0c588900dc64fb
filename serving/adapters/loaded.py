"""A release from its folder, in another server's process: checked as our own service checks it, and asked for the same probabilities."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.release import Release, ReleaseRefused
from serving.release import load as checked

Matrix = npt.NDArray[np.float64]
# as the service itself names them (serving/infer.py)
INPUT, OUTPUT = "features", "probability"
RELEASE = "release.json"


class InvalidRows(ValueError):
    """What was asked is no feature rows; the message says what is expected."""


def load(folder: Path) -> Release:
    """The release in `folder`: its file by sha256, its features, its golden answers; raises ReleaseRefused."""

    def fetch(manifest: dict[str, Any]) -> bytes:
        content = (folder / Path(manifest["artifact"]).name).read_bytes()
        # first: LightGBM ends the process on some texts that were cut or changed
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise ReleaseRefused(f"version {manifest['model_version']} is not the file that was released: its sha256 is another")
        return content

    return checked(json.loads((folder / RELEASE).read_text()), fetch)


def answer(release: Release, rows: Matrix | None) -> Matrix:
    """Probabilities, shape (n,), of feature rows, NaN where a value is missing; raises InvalidRows or InvalidModel."""
    width = len(release.model.features)
    if rows is None or rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise InvalidRows(f"expected a tensor {INPUT}, of datatype FP64 and shape [n, {width}]")
    if np.isinf(rows).any():
        raise InvalidRows("expected finite numbers, or NaN where a value is missing")
    return np.array(release.probabilities(rows.tolist()), dtype=np.float64)
