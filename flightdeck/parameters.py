"""params.yaml, the file of learning's knobs."""

from functools import lru_cache
from typing import Any

import yaml

from flightdeck.settings import ROOT


@lru_cache
def parameters() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return loaded
