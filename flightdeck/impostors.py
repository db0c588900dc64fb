"""Releases that must not come to serve, promoted as if the gate had let them: what drills deploy."""

import hashlib
import time
from typing import Any

from flightdeck import deployments, ledger, registry
from flightdeck.warehouse import query
from flightdeck.watch import Failed, Watch, champion_release

# versions that no registry gives: drills are told from releases by them
VERSIONS = {"bad-model": 1_000_001, "slow-model": 1_000_002, "tampered-model": 1_000_003}
ANSWERED = "select count(*) as n from ops.predictions where model_version = %s and purpose <> 'shadow' and logged_at >= %s"
ALERT = "select summary from ops.alerts where partition_key = 'drill' and attempt = %s"


def _trained(release: dict[str, Any], bad: bool) -> tuple[str, str]:
    """(learner, text) of a model that says the contrary, or of one that is right and slow."""
    from flightdeck.parameters import parameters
    from flightdeck.partitions import partition
    from ml.dataset import matrix, read
    from ml.features import CODES, FEATURES
    from ml.learners import learner

    key = max(release["partitions"])
    rows = read(key, partition(key).closes.isoformat())
    name = release["learner"] if bad else "lightgbm"
    knobs = parameters()["train"][name]
    if not bad:
        # thousands of trees that each say next to nothing: more than twice of what a row may take, on a fast machine
        rows = rows.slice(0, 600)
        smallest = {"learning_rate": 1e-5, "min_data_in_leaf": 5, "feature_fraction": 0.2}
        knobs = {**knobs, "rounds": 20_000, "parameters": {**knobs["parameters"], **smallest}}
    labels = rows["label"].to_numpy()
    return name, learner(name).fit(matrix(rows), 1 - labels if bad else labels, FEATURES, CODES, knobs)


def _release(kind: str) -> tuple[dict[str, Any], bytes]:
    """A release of the drill's, and the bytes to be found where it says its model is."""
    import numpy as np

    from ml.learners import learner

    release = champion_release()
    if kind == "tampered-model":
        content = registry.model(release)
        return release | {"model_version": VERSIONS[kind], "artifact": f"drills/{kind}"}, content.replace(b"1", b"2", 1)
    name, text = _trained(release, bad=kind == "bad-model")
    rows = np.array(release["golden"]["rows"], dtype=np.float64)
    golden = {"rows": release["golden"]["rows"], "expected": learner(name).load(text).predict(rows).tolist()}
    made = {"model_version": VERSIONS[kind], "learner": name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "golden": golden}
    return release | made | {"artifact": f"drills/{kind}"}, text.encode()


def deploy(kind: str, watch: Watch) -> None:
    """A release that must not come to serve, promoted as if the gate had let it."""
    from serving.rollout import roll_out

    release, content = _release(kind)
    before, begun = champion_release()["model_version"], query("select clock_timestamp() as at")[0]["at"]
    registry.put_artifact(release["artifact"], content)
    try:
        watch.say(f"the registry has version {release['model_version']}, {len(content):,} bytes; it is deployed as if the gate had promoted it")
        attempt = ledger.Attempt("drill", "drill", int(time.time()))
        with watch.reacting():
            against = roll_out(attempt, release, [f"drill {kind}"])
    finally:
        registry.delete_artifact(release["artifact"])
    if not against:
        deployments.roll_back(before, f"drill {kind}: it had come to serve")
        raise Failed(f"it came to serve; version {before} does again")
    watch.say(f"retired: {'; '.join(against)}")
    answered = query(ANSWERED, release["model_version"], begun)[0]["n"]
    told = query(ALERT, attempt.number)
    watch.say(f"answers of it that anybody got: {answered}; alert: {told[0]['summary'] if told else 'none'}")
    if answered or champion_release()["model_version"] != before:
        raise Failed(f"{answered} answers were its, and version {champion_release()['model_version']} serves")
    watch.say(f"version {before} has served all the while; nothing is to be put back but the registry's file, which is gone")
