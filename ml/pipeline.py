"""The stage `train`: dvc.yaml's stages in a workspace of their own, committed and pushed by DVC, logged to MLflow."""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from flightdeck import ledger, registry
from flightdeck.parameters import parameters
from flightdeck.partitions import following, partition
from flightdeck.settings import ROOT, settings
from ml import card
from ml.evaluate import evaluate
from ml.model_tests import test
from ml.snapshot import snapshot
from ml.tracking import TRAINING, log, register
from ml.train import train as fit

CODE = ["__init__.py", "dataset.py", "evaluate.py", "features.py", "learners", "model_tests.py", "snapshot.py", "train.py"]
CONFIG = """[core]
    no_scm = true
    analytics = false
    check_update = false
    remote = store
    site_cache_dir = {home}/dvc/site
[cache]
    dir = {home}/dvc/cache
    type = reflink,hardlink,copy
['remote "store"']
    url = {remote}
"""


@ledger.once("train")
def train(attempt: ledger.Attempt) -> None:
    """Where `decide` asked for it, train a challenger on all partitions published up to the attempt's, and register it."""
    asked = ledger.last("decide", attempt.key)
    if asked is None or not asked["facts"]["retrain"]:
        attempt.facts = {"skipped": True, "reasons": asked["facts"]["reasons"] if asked else ["nobody decided on it"]}
        return
    knobs = with_partitions(parameters(), attempt.key)
    attempt.inputs["transform"] = {key: wanted["attempt"] for key, wanted in knobs["snapshot"]["partitions"].items()}
    with workspace(f"train-{attempt.key}-{attempt.number}", knobs) as folder:
        md5 = run(folder)
        draft = log(folder, TRAINING, f"train {attempt.key}", md5, {"partition_key": attempt.key, "attempt": str(attempt.number)})
        take_up(attempt, draft)
        attempt.facts["dvc_lock_sha256"] = hashlib.sha256((folder / "dvc.lock").read_bytes()).hexdigest()


def take_up(attempt: ledger.Attempt, draft: dict[str, Any]) -> None:
    """Register what was trained, with its card; it is a challenger if it has passed the model tests."""
    release = register(draft, attempt.key)
    card.publish(release)
    if not release["failures"]:
        registry.set_alias("challenger", release["model_version"])
    attempt.outputs["release"] = release
    attempt.facts |= {"metrics": release["metrics"], "failures": release["failures"]}


def with_partitions(knobs: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The knobs, with the published partitions up to `key` filled in, and until when each one's labels count.

    That is the closing of the partition after it, so that a partition is read anew once, and then stays the same file; of `key` itself, its own.
    """
    keys = [*ledger.published(before=key), key]
    wanted = {}
    for each in keys:
        if found := ledger.last("transform", each):
            settled = partition(each if each == key else following(each)).closes
            wanted[each] = {"attempt": found["attempt"], "as_of": settled.isoformat()}
    return {**knobs, "snapshot": {**knobs["snapshot"], "partitions": wanted}}


@contextmanager
def workspace(name: str, knobs: Mapping[str, Any]) -> Iterator[Path]:
    """A folder with the pipeline, its code (a dependency, so its md5 is in dvc.lock) and these parameters; it is removed at the end."""
    with scratch(name) as folder:
        (settings().home / "dvc").mkdir(exist_ok=True, mode=0o700)
        furnish(folder, settings().home)
        copy_code(ROOT, folder, CODE)
        (folder / "params.yaml").write_text(yaml.safe_dump(dict(knobs), sort_keys=False))
        yield folder


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """An empty folder of this name, which nobody else may read; it is removed at the end."""
    folder = settings().home / "work" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def furnish(folder: Path, home: Path) -> None:
    """Make `folder` a workspace of DVC's, whose cache is below `home`."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(CONFIG.format(home=home, remote=settings().dvc_remote))
    # what Python leaves beside the code is not the code: `dvc repro` by command must give the same lock
    (folder / ".dvcignore").write_text("__pycache__\n")


def copy_code(tree: Path, folder: Path, names: Iterable[str]) -> None:
    """The pipeline, and these modules and packages of `ml`."""
    (folder / "ml").mkdir()
    for name in names:
        source = tree / "ml" / name
        if source.is_dir():
            shutil.copytree(source, folder / "ml" / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        else:
            shutil.copyfile(source, folder / "ml" / name)
    shutil.copyfile(tree / "dvc.yaml", folder / "dvc.yaml")


def run(folder: Path) -> str:
    """The stages, in process: a Python of its own for each would cost three seconds of imports. Returns the snapshot's md5.

    Then `dvc commit`, the verb for "I ran the commands myself", and push.
    """
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError

    # what it tells of each stage is in its lock, which the run keeps
    logging.getLogger("dvc").setLevel(logging.WARNING)
    # DVC resolves some paths of a stage against the current folder
    with chdir(folder), closing(Repo(str(folder))) as repository:
        with repository.lock:
            for stage in repository.stage.collect("snapshot"):
                # a partition that was read before comes from the run cache, as `dvc repro` takes it from there
                try:
                    repository.stage_cache.restore(stage)
                except RunCacheNotFoundError:
                    snapshot(folder, stage.addressing.partition("@")[2])
        for step in (fit, evaluate, test):
            step(folder)
        repository.commit(force=True)
        repository.push(run_cache=True)
    locked = yaml.safe_load((folder / "dvc.lock").read_text())
    return next(str(each["md5"]) for each in locked["stages"]["train"]["deps"] if each["path"] == "data")
