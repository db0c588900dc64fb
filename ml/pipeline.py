"""The stage `train`: dvc.yaml's stages in a workspace of their own, committed and pushed by DVC, logged to MLflow."""

import hashlib
import json
import shutil
from contextlib import chdir, closing
from pathlib import Path

import yaml

from flightdeck import ledger, registry
from flightdeck.partitions import partition
from flightdeck.settings import ROOT, settings
from ml.evaluate import evaluate
from ml.snapshot import snapshot
from ml.tracking import log
from ml.train import train as fit

CODE = ["__init__.py", "dataset.py", "evaluate.py", "features.py", "snapshot.py", "train.py"]
CONFIG = """[core]
    no_scm = true
    analytics = false
    check_update = false
    remote = store
[cache]
    dir = {home}/dvc/cache
    type = reflink,hardlink,copy
['remote "store"']
    url = {home}/dvc/remote
"""


@ledger.once("train")
def train(attempt: ledger.Attempt) -> None:
    """Where `decide` asked for it, train a challenger on all partitions published up to the attempt's, and register it."""
    asked = ledger.last("decide", attempt.key)
    if asked is None or not asked["facts"]["retrain"]:
        attempt.facts = {"skipped": True, "reasons": asked["facts"]["reasons"] if asked else ["nobody decided on it"]}
        return
    workspace = _workspace(attempt)
    try:
        # in process: a Python of its own for each stage would cost three seconds of imports
        snapshot(workspace)
        fit(workspace)
        evaluate(workspace)
        release = log(workspace, attempt, _commit(workspace))
        registry.set_alias("challenger", release["model_version"])
        attempt.outputs["release"] = release
        attempt.facts["metrics"] = json.loads((workspace / "metrics.json").read_text())
        attempt.facts["dvc_lock_sha256"] = hashlib.sha256((workspace / "dvc.lock").read_bytes()).hexdigest()
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _workspace(attempt: ledger.Attempt) -> Path:
    """A folder with the pipeline, its code (a dependency, so its md5 is in dvc.lock) and this training's parameters."""
    home = settings().home
    folder = home / "work" / f"train-{attempt.key}-{attempt.number}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ".dvc").mkdir(parents=True, mode=0o700)
    (folder / ".dvc" / "config").write_text(CONFIG.format(home=home))
    (home / "dvc").mkdir(exist_ok=True, mode=0o700)
    (folder / "ml").mkdir()
    for name in CODE:
        shutil.copyfile(ROOT / "ml" / name, folder / "ml" / name)
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    knobs = yaml.safe_load((ROOT / "params.yaml").read_text())
    keys = [*ledger.published(before=attempt.key), attempt.key]
    knobs["snapshot"]["partitions"] = {key: found["attempt"] for key in keys if (found := ledger.last("transform", key))}
    knobs["snapshot"]["as_of"] = partition(attempt.key).closes.isoformat()
    attempt.inputs["transform"] = knobs["snapshot"]["partitions"]
    (folder / "params.yaml").write_text(yaml.safe_dump(knobs, sort_keys=False))
    return folder


def _commit(workspace: Path) -> str:
    """`dvc commit` is the verb for "I ran the commands myself"; then push. Returns the snapshot's md5."""
    from dvc.repo import Repo

    # DVC resolves some paths of a stage against the current folder
    with chdir(workspace), closing(Repo(str(workspace))) as repository:
        repository.commit(force=True)
        repository.push(run_cache=True)
    locked = yaml.safe_load((workspace / "dvc.lock").read_text())
    return str(locked["stages"]["snapshot"]["outs"][0]["md5"])
