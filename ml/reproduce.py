"""A registered version built once more, from its run, the code and the store: the same bytes, or a list of what differs.

The ledger, the registry and the shared cache stay as they are, and the folder that it works in is removed. What is run is a tree of this
repository's code; of the registry only values are taken.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flightdeck import launch, registry
from flightdeck.code import code_version
from flightdeck.parameters import flat
from flightdeck.settings import ROOT, settings
from ml import environment, pipeline
from ml.learners import learner

FILES = ("dvc.lock", "dvc.yaml", "params.yaml")
STAGES = ("train", "evaluate", "test")
# what a run calls its code: a commit, with or without changes on top of it
COMMIT = re.compile(r"([0-9a-f]{7,40})(\+changes)?")
Tell = Callable[[str], None]


class NotRebuilt(RuntimeError):
    """There is no such version, or nothing to build it from; the message says what there is."""


class Difference(NamedTuple):
    """kind: code | data | parameter | output | model; what was released and what was found here, None where there is nothing."""

    kind: str
    name: str
    released: Any
    found: Any


class Version(NamedTuple):
    """What is known of a version: its run's tags, the sha256 of its model file, and DVC's files as they were logged."""

    number: int
    run_id: str
    tags: Mapping[str, str]
    sha256: str
    files: Mapping[str, bytes]
    stages: Mapping[str, Any]


class Tree(NamedTuple):
    """A tree of code, what it is called, and where it differs from the code that the version was trained with."""

    name: str
    path: Path
    differences: list[Difference]


def reproduce(number: int, tell: Tell) -> dict[str, Any]:
    """Build version `number` anew. Returns {"version", "same", "differences", "environment", "notes", "code", "sha256", "seconds", "run_id"}.

    `same` asks for the same code, data, parameters, outputs and model. Another environment, under "environment", is told and no fault by itself.
    """
    begun = time.monotonic()
    version = _version(number)
    with pipeline.scratch(f"reproduce-{number}-{os.getpid()}") as scratch:
        tell(f"version {number}: run {version.run_id}, code {version.tags['code']}")
        tree = _code(version, scratch)
        notes = _notes(version, tree)
        tell("; ".join(notes))
        folder = scratch / "workspace"
        _furnish(folder, scratch, tree, version)
        differences = [*tree.differences, *_parameters(version)]
        if other := _data(folder, scratch, tree, version, tell):
            notes.append("nothing was trained: the data are not those that were released")
        else:
            other = _trained(folder, tree, version, tell)
        rebuilt = _sha256(folder, version)
    return {
        "version": number, "run_id": version.run_id, "same": not differences + other, "sha256": rebuilt,
        "code": {"released": version.tags["code"], "used": tree.name}, "differences": [each._asdict() for each in differences + other],
        "environment": _environment(version), "notes": notes, "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def _version(number: int) -> Version:
    found = registry.version(number)
    if found is None:
        near = sorted(sorted(registry.versions(), key=lambda other: abs(other - number))[:5])
        raise NotRebuilt(f"there is no version {number}; the nearest: {', '.join(map(str, near)) or 'none, nothing was trained yet'}")
    run = registry.run(found["run_id"])
    if place := run["tags"].get("taken_in"):
        raise NotRebuilt(f"version {number} was trained in another environment, and taken in from {place}: its data are there")
    place = f"{run['experiment_id']}/{found['run_id']}/artifacts"
    files = {name: registry.artifact(f"{place}/{name}") for name in FILES}
    return Version(number, found["run_id"], run["tags"], found["tags"]["sha256"], files, yaml.safe_load(files["dvc.lock"])["stages"])


def _code(version: Version, scratch: Path) -> Tree:
    """This checkout if its files are those of the lock; else the run's commit; where neither is, the one that is nearer."""
    here = Tree("this checkout", ROOT, _differing(ROOT, version))
    named = COMMIT.fullmatch(version.tags["code"])
    if not here.differences or not named:
        return here
    archive = _archive(named[1])
    if archive is None:
        return here
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(scratch / "code")
    there = Tree(f"commit {named[1]}", scratch / "code", _differing(scratch / "code", version))
    return min(here, there, key=lambda tree: len(tree.differences))


def _archive(commit: str) -> bytes | None:
    """The commit's tree as a zip file; None where git, the repository or the commit is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "archive", "--format=zip", commit], capture_output=True)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def _notes(version: Version, tree: Tree) -> list[str]:
    """What a person should know of the code."""
    code = version.tags["code"]
    named = COMMIT.fullmatch(code)
    notes = [f"the code is that of {tree.name}"]
    if tree.differences and not named:
        notes.append(f"the run's code, {code}, is no commit: only files that are the same can be had again")
    elif tree.differences and named and named[2]:
        notes.append(f"the run's code was {named[1]} with changes that were not committed: the commit alone does not hold it")
    elif tree.differences:
        notes.append(f"commit {code} is not in this checkout, or does not hold that code: is it fetched?")
    elif tree.path == ROOT and code != code_version():
        notes.append(f"the pipeline's files are the same as those of {code}; the rest of this checkout, {code_version()}, may differ")
    return notes


def _differing(tree: Path, version: Version) -> list[Difference]:
    wanted = {"dvc.yaml": hashlib.md5(version.files["dvc.yaml"], usedforsecurity=False).hexdigest()}
    wanted |= {dep["path"]: dep["md5"] for stage in version.stages.values() for dep in stage["deps"] if dep["path"].startswith("ml/")}
    return _compared("code", tree, wanted.items())


def _compared(kind: str, folder: Path, wanted: Iterable[tuple[str, str]]) -> list[Difference]:
    found = [Difference(kind, path, released, _md5(folder / path)) for path, released in wanted]
    return [each for each in found if each.released != each.found]


def _md5(path: Path) -> str | None:
    """As DVC has it; of a folder, that of the list of its files. DVC itself remembers what it has fetched, and would not look again."""
    if path.is_dir():
        # as a workspace leaves them out
        inside = [each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts and each.suffix != ".md"]
        listed = sorted(({"md5": _md5(each), "relpath": each.relative_to(path).as_posix()} for each in inside), key=lambda each: str(each["relpath"]))
        return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.exists() else None


def _furnish(folder: Path, scratch: Path, tree: Tree, version: Version) -> None:
    """A workspace whose cache is its own, with the version's parameters and lock."""
    pipeline.furnish(folder, scratch)
    # all of it: what a stage imports is for its own commit to say
    pipeline.copy_code(tree.path, folder, [each.name for each in (tree.path / "ml").iterdir() if each.is_dir() or each.suffix == ".py"])
    for name in ("params.yaml", "dvc.lock"):
        (folder / name).write_bytes(version.files[name])


def _parameters(version: Version) -> list[Difference]:
    """Where the run's params.yaml is not what its lock says that was trained with."""
    here = yaml.safe_load(version.files["params.yaml"])
    found: dict[str, Difference] = {}
    for stage in version.stages.values():
        for name, released in stage.get("params", {}).get("params.yaml", {}).items():
            before, now = flat({name: released}), flat({name: _value(here, name)})
            found |= {path: Difference("parameter", path, before.get(path), now.get(path)) for path in {**before, **now} if before.get(path) != now.get(path)}
    return list(found.values())


def _value(knobs: Any, path: str) -> Any:
    """The value at a dotted path, None if there is none."""
    for part in path.split("."):
        knobs = knobs.get(part) if isinstance(knobs, Mapping) else None
    return knobs


def _data(folder: Path, scratch: Path, tree: Tree, version: Version, tell: Tell) -> list[Difference]:
    """Pull the snapshot from the store; the files that are missing there, or others."""
    store = settings().dvc_remote
    wanted = {out["path"]: out["md5"] for name, stage in version.stages.items() if name.startswith("snapshot@") for out in stage["outs"]}
    tell(f"{len(wanted)} files of data from {store}")
    # from a folder, DVC deletes what is not what it should be: there it is looked at before DVC is asked
    remote = "://" in store
    told = _last(_dvc(folder, tree, "fetch", "snapshot")) if remote else "it has none of the files"
    place = (scratch / "dvc/cache" if remote else Path(store)) / "files/md5"
    found = {path: _md5(place / md5[:2] / md5[2:]) for path, md5 in wanted.items()}
    if not any(found.values()):
        raise NotRebuilt(f"nothing of the data could be fetched from {store}: {told}")
    if other := [Difference("data", path, md5, found[path]) for path, md5 in wanted.items() if found[path] != md5]:
        return other
    _dvc(folder, tree, "pull", "snapshot")
    return _compared("data", folder, wanted.items())


def _trained(folder: Path, tree: Tree, version: Version, tell: Tell) -> list[Difference]:
    """Train, evaluate and test anew; the outputs that are not those of the lock."""
    tell(f"{', '.join(STAGES)}, anew")
    done = _dvc(folder, tree, "repro", "--force", "--no-run-cache", "--downstream", STAGES[0])
    if done.returncode:
        return [Difference("output", "dvc repro", "done", _last(done))]
    found = _compared("output", folder, ((out["path"], out["md5"]) for stage in STAGES for out in version.stages[stage]["outs"]))
    rebuilt = _sha256(folder, version)
    return found if rebuilt == version.sha256 else [*found, Difference("model", "sha256", version.sha256, rebuilt)]


def _dvc(folder: Path, tree: Tree, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # the tree before all: `ml` is the workspace's own, what it imports of the rest must be of the same commit
    surroundings = os.environ | launch.common() | {"PYTHONPATH": str(tree.path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=surroundings, capture_output=True, text=True)


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    """The errors that DVC and the stage have told, in a line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if "rror" in line] or lines
    return "; ".join(told[-3:])[-600:] or f"exit code {done.returncode}"


def _sha256(folder: Path, version: Version) -> str | None:
    path = folder / "model" / learner(yaml.safe_load(version.files["params.yaml"])["train"]["learner"]).FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _environment(version: Version) -> list[dict[str, Any]]:
    """What the model was trained with and is other here; of a run that has not recorded it, nothing is known."""
    prefix = environment.TAG
    recorded = {name.removeprefix(prefix): value for name, value in version.tags.items() if name.startswith(prefix)}
    here = environment.versions()
    return [{"name": name, "released": value, "found": here.get(name)} for name, value in recorded.items() if here.get(name) != value]
