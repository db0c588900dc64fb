"""params.yaml, the file of learning's knobs."""

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from itertools import product
from typing import Any

import yaml

from flightdeck.settings import ROOT


class UnknownParameter(ValueError):
    """A setting that params.yaml does not have, or that several could be meant by; the message lists what there is."""


@lru_cache
def parameters() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return loaded


def flat(knobs: Mapping[str, Any], leaves: bool = False) -> dict[str, Any]:
    """{dotted path: value}; with `leaves`, by the last part of the path only."""
    found: dict[str, Any] = {}
    for name, value in knobs.items():
        inner = flat(value, leaves) if isinstance(value, Mapping) else {}
        found |= {(path if leaves else f"{name}.{path}"): each for path, each in inner.items()} or {name: value}
    return found


def changed(knobs: Mapping[str, Any], settings: list[str]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each combination of settings like `train.num_leaves=15,31`: ({path: value}, the knobs with it). Raises UnknownParameter.

    What lies between the first and the last part of a path may be left out, if one path only can be meant: train.num_leaves is
    train.lightgbm.parameters.num_leaves.
    """
    wanted: dict[str, list[Any]] = {}
    for setting in settings:
        name, sign, values = setting.partition("=")
        if not sign or not values:
            raise UnknownParameter(f"{setting!r}: expected NAME=VALUE, or NAME=VALUE,VALUE for a sweep")
        wanted[_path(knobs, name)] = [yaml.safe_load(value) for value in values.split(",")]
    made = []
    for combination in product(*wanted.values()):
        chosen, copy = dict(zip(wanted, combination, strict=True)), deepcopy(dict(knobs))
        for path, value in chosen.items():
            *parents, last = path.split(".")
            place = copy
            for parent in parents:
                place = place[parent]
            place[last] = value
        made.append((chosen, copy))
    return made


def _path(knobs: Mapping[str, Any], name: str) -> str:
    paths = list(flat(knobs))
    if name in paths:
        return name
    first, _, last = name.partition(".")
    learner = f"{first}.{knobs['train']['learner']}."
    meant = [path for path in paths if path.startswith(f"{first}.") and path.endswith(f".{last}")]
    # of two learners' settings of one name, the chosen one's is meant
    meant = [path for path in meant if path.startswith(learner)] or meant
    if len(meant) != 1:
        raise UnknownParameter(f"{name!r} is no parameter; there are {', '.join(meant or (path for path in paths if path.startswith(first)))}")
    return meant[0]
