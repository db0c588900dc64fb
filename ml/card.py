"""The model card of a registered version: what it is for, what it was trained on, how good it is and for whom, and how to build it again."""

import json
from typing import Any

import yaml

from flightdeck import evidence, registry
from flightdeck.evidence import SCORES, rows
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.settings import settings


def publish(release: dict[str, Any]) -> None:
    """Keep the card with the version's evidence; of the same version it is the same card."""
    taken_in = registry.run(release["run_id"])["tags"].get("taken_in", "")
    place = f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts"
    # one that was trained elsewhere has brought no files but its model
    knobs = parameters() if taken_in else yaml.safe_load(registry.artifact(f"{place}/params.yaml"))
    tested = [] if taken_in else json.loads(registry.artifact(f"{place}/tests.json"))
    evidence.keep(release, evidence.CARD, text(release, {**parameters(), **knobs}, tested, taken_in))


def text(release: dict[str, Any], knobs: dict[str, Any], tested: list[dict[str, Any]], taken_in: str = "") -> str:
    """The card in Markdown, from the release, the parameters and the model tests' results."""
    card = knobs["card"]
    parts = [
        f"# {knobs['model']['name']}, version {release['model_version']}\n",
        rows(["", ""], [["owner", card["owner"]], ["intended use", card["intended_use"]], *_origin(release, taken_in)]),
        "## Limits of use\n",
        "".join(f"- {limit}\n" for limit in card["known_limits"]),
        "## Data\n",
        _data(release, knobs),
        f"## Features: {len(release['features'])}\n",
        ", ".join(f"`{name}`" for name in release["features"]) + "\n",
        "## How good it is\n",
        "On the newest partition's last days, which it was not trained on.\n",
        _metrics(release["metrics"]),
        "## Model tests\n",
        _tests(release, tested, taken_in),
        "## Build it again\n",
        "Where it was trained.\n" if taken_in else f"`flightdeck reproduce {release['model_version']}`: the same bytes, or a list of what differs.\n",
    ]
    return "\n".join(parts)


def _origin(release: dict[str, Any], taken_in: str) -> list[list[Any]]:
    found = [["learner", release["learner"]], ["code", release["code"]], ["sha256 of the model file", release["sha256"]], ["MLflow run", release["run_id"]]]
    return [*found, ["taken in from", taken_in]] if taken_in else found


def _data(release: dict[str, Any], knobs: dict[str, Any]) -> str:
    keys = release["partitions"]
    wanted = knobs["snapshot"]["partitions"]
    period = f"{partition(min(keys)).start:%Y-%m-%d} to before {partition(max(keys)).end:%Y-%m-%d} ({settings().timezone})"
    told = f"{len(keys)} partitions, {period}; the last {knobs['snapshot']['holdout_days']} days are evidence. Snapshot md5 `{release['snapshot_md5']}`.\n"
    return f"{told}\n" + rows(["partition", "published by attempt", "labels known by"], ([key, *_published(wanted.get(key, {}))] for key in keys))


def _published(wanted: dict[str, Any]) -> list[Any]:
    return [wanted.get("attempt"), wanted.get("as_of")]


def _metrics(metrics: dict[str, Any]) -> str:
    sides = {"all": metrics, **dict(sorted(metrics["segments"].items()))}
    return rows(["", *(name.replace("_", " ") for name in SCORES)], ([name, *(found.get(each) for each in SCORES)] for name, found in sides.items()))


def _tests(release: dict[str, Any], tested: list[dict[str, Any]], taken_in: str) -> str:
    if taken_in:
        return ("".join(f"- not passed: {failure}\n" for failure in release["failures"]) or "Passed") + f" where it was trained ({taken_in}).\n"
    return rows(["test", "value", "must be", "passed"], ([each["test"], each["value"], each["limit"], "yes" if each["passed"] else "no"] for each in tested))
