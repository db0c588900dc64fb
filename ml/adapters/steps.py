"""The stages of `ml` one at a time, for a tool that has steps of its own and carries files between them.

Files are {path in the workspace: content}: params.yaml first, then what each stage adds. A step needs no disk that another one has written to.
"""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import yaml

Files = dict[str, bytes]
PARAMETERS = "params.yaml"


def begin(key: str) -> Files:
    """What a training of all partitions published up to `key` begins with; raises InvalidPartition."""
    from flightdeck.parameters import parameters
    from flightdeck.partitions import partition
    from ml.pipeline import with_partitions

    return {PARAMETERS: yaml.safe_dump(with_partitions(parameters(), partition(key).key), sort_keys=False).encode()}


def partitions(files: Files) -> list[str]:
    """The partitions that are to be read, in order."""
    return sorted(yaml.safe_load(files[PARAMETERS])["snapshot"]["partitions"])


def made(files: Files, *work: Callable[[Path], None]) -> Files:
    """What these stages, in order, add to `files`."""
    with tempfile.TemporaryDirectory() as name:
        write(files, name)
        for each in work:
            each(Path(name))
        return {path: content for path, content in read(name).items() if path not in files}


def read(*folders: str) -> Files:
    """The files of these folders."""
    found = [(Path(folder), path) for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for folder, path in found}


def write(files: Files, folder: str) -> None:
    """The other way round; `folder` may be there already."""
    for path, content in files.items():
        place = Path(folder) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def end(files: Files, key: str, attempt: str, by: Mapping[str, str]) -> dict[str, Any]:
    """Have DVC commit and push what all stages have made, log it to MLflow as run of `attempt`, register it; returns the release.

    `by` become tags of the run: which tool has trained, in which run of its own.
    """
    from ml import pipeline
    from ml.tracking import TRAINING, log, register

    with pipeline.workspace(f"train-{key}-{attempt}", yaml.safe_load(files[PARAMETERS])) as folder:
        write(files, str(folder))
        md5 = _committed(folder)
        draft = log(folder, TRAINING, f"train {key}", md5, {"partition_key": key, "attempt": attempt, **by})
        return register(draft, key)


def _committed(folder: Path) -> str:
    """As at the end of `run` in ml/pipeline.py, where the stages have run in this process; returns the snapshot's md5."""
    from dvc.repo import Repo

    with chdir(folder), closing(Repo(str(folder))) as repository:
        repository.commit(force=True)
        repository.push(run_cache=True)
    locked = yaml.safe_load((folder / "dvc.lock").read_text())
    return next(str(each["md5"]) for each in locked["stages"]["train"]["deps"] if each["path"] == "data")
