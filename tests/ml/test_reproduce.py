"""A registered version is built again from the store, the run and the code; whatever differs is named."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from flightdeck import ledger, registry
from flightdeck.cli import main
from flightdeck.code import code_version
from flightdeck.parameters import changed
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import query
from ml import pipeline, reproduce, tracking
from tests.ml.conftest import Months

KEYS = ["1987-01", "1987-02"]
ROWS = 4400
MODEL = "ml/train.py"


@pytest.fixture(scope="module")
def trained(published_months: Months) -> dict[str, Any]:
    """A release, while nothing of what it was read from is in the warehouse any more."""
    with published_months(KEYS, ROWS):
        ledger.Attempt("decide", KEYS[1], 1, facts={"retrain": True, "reasons": ["first"]}).record("done")
        pipeline.train(KEYS[1])
    found = ledger.last("train", KEYS[1])
    assert found is not None
    return found["outputs"]["release"]


def run(version: int) -> tuple[int, dict[str, Any]]:
    """(exit code, what it says) of the command."""
    done = CliRunner().invoke(main, ["reproduce", str(version), "--json"])
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, json.loads(done.stdout)


def names(found: dict[str, Any], kind: str) -> list[str]:
    return [each["name"] for each in found["differences"] if each["kind"] == kind]


def place(release: dict[str, Any], name: str) -> str:
    return f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/{name}"


def locked(release: dict[str, Any]) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load(registry.artifact(place(release, "dvc.lock")))["stages"]
    return stages


@contextmanager
def replaced(path: str, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """An artifact with other bytes."""
    before = registry.artifact(path)
    after = change(before)
    assert after != before
    registry.put_artifact(path, after)
    yield
    registry.put_artifact(path, before)


def contents() -> dict[str, bytes]:
    """Every file that DVC, and whoever works in a folder of its own, has left in the state folder."""
    return {str(path): path.read_bytes() for name in ("dvc", "work") for path in (settings().home / name).rglob("*") if path.is_file()}


def test_a_version_is_built_again_byte_for_byte_and_nothing_is_left_behind(trained: dict[str, Any]) -> None:
    assert query("select from marts.features where partition_key = any(%s)", KEYS) == []
    before, rows, versions = contents(), query("select count(*) as n from ops.ledger"), registry.versions()
    code, found = run(trained["model_version"])
    assert (code, found["same"], found["differences"], found["environment"]) == (0, True, [], [])
    assert found["sha256"] == trained["sha256"] == hashlib.sha256(registry.model(trained)).hexdigest()
    assert found["code"] == {"released": code_version(), "used": "this checkout"}
    assert contents() == before
    assert (query("select count(*) as n from ops.ledger"), registry.versions()) == (rows, versions)
    # what a killed training has left is another matter
    assert list((settings().home / "work").glob("reproduce-*")) == []


def test_it_comes_from_the_store_and_not_from_the_cache(trained: dict[str, Any]) -> None:
    cache = settings().home / "dvc/cache"
    aside = cache.rename(cache.with_name("aside"))
    code, found = run(trained["model_version"])
    assert not cache.exists()
    aside.rename(cache)
    assert (code, found["same"]) == (0, True)


def test_people_read_what_it_does_and_that_it_is_the_same(trained: dict[str, Any]) -> None:
    done = CliRunner().invoke(main, ["reproduce", str(trained["model_version"])])
    assert done.exit_code == 0, done.output
    assert f"2 files of data from {settings().dvc_remote}" in done.stdout
    assert f"the same, byte for byte: sha256 {trained['sha256']}" in done.stdout


def stored(md5: str) -> Path:
    return Path(settings().dvc_remote) / "files/md5" / md5[:2] / md5[2:]


def test_a_changed_file_of_data_is_named_and_nothing_is_trained_on_it(trained: dict[str, Any]) -> None:
    # that of the other partition, in its place: it can be read, and a model could be trained on it
    out, other = (locked(trained)[f"snapshot@{key}"]["outs"][0] for key in KEYS)
    before = stored(out["md5"]).read_bytes()
    stored(out["md5"]).chmod(0o600)
    stored(out["md5"]).write_bytes(stored(other["md5"]).read_bytes())
    code, found = run(trained["model_version"])
    # what is wrong in the store is for people to look at: it is still there
    assert stored(out["md5"]).read_bytes() == stored(other["md5"]).read_bytes()
    stored(out["md5"]).write_bytes(before)
    assert (code, found["same"]) == (1, False)
    assert found["differences"] == [{"kind": "data", "name": f"data/{KEYS[0]}.parquet", "released": out["md5"], "found": other["md5"]}]
    assert (found["sha256"], found["notes"][-1]) == (None, "nothing was trained: the data are not those that were released")


def test_a_lost_file_of_data_is_named(trained: dict[str, Any], tmp_path: Path) -> None:
    out = locked(trained)[f"snapshot@{KEYS[1]}"]["outs"][0]
    shutil.move(stored(out["md5"]), tmp_path / "lost")
    code, found = run(trained["model_version"])
    shutil.move(tmp_path / "lost", stored(out["md5"]))
    assert code == 1
    assert [each for each in found["differences"] if each["kind"] == "data"] == [
        {"kind": "data", "name": f"data/{KEYS[1]}.parquet", "released": out["md5"], "found": None}
    ]
    assert found["sha256"] is None


def test_a_store_that_has_nothing_is_an_error(trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = settings().model_copy(update={"dvc_remote": str(tmp_path)})
    monkeypatch.setattr(pipeline, "settings", lambda: nowhere)
    monkeypatch.setattr(reproduce, "settings", lambda: nowhere)
    done = CliRunner().invoke(main, ["reproduce", str(trained["model_version"])])
    assert done.exit_code == 1
    assert f"nothing of the data could be fetched from {tmp_path}" in done.output


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 store with all that is in the folder, in the folder's place."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    made, folder = boto3.resource("s3").create_bucket(Bucket="store"), Path(settings().dvc_remote)
    for path in folder.glob("files/**/*"):
        if path.is_file():
            made.put_object(Key=f"dvc/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    there = settings().model_copy(update={"dvc_remote": "s3://store/dvc"})
    for module in (pipeline, reproduce):
        monkeypatch.setattr(module, "settings", lambda: there)
    yield made
    server.stop()


def test_the_store_may_be_s3(trained: dict[str, Any], bucket: Any) -> None:
    code, found = run(trained["model_version"])
    assert (code, found["same"]) == (0, True), found
    md5 = locked(trained)[f"snapshot@{KEYS[0]}"]["outs"][0]["md5"]
    bucket.put_object(Key=f"dvc/files/md5/{md5[:2]}/{md5[2:]}", Body=b"other")
    code, found = run(trained["model_version"])
    assert (code, names(found, "data")) == (1, [f"data/{KEYS[0]}.parquet"])
    assert found["differences"][0]["found"] == hashlib.md5(b"other").hexdigest()


def test_another_parameter_is_named(trained: dict[str, Any]) -> None:
    def more_leaves(before: bytes) -> bytes:
        [(_, knobs)] = changed(yaml.safe_load(before), ["train.num_leaves=63"])
        return yaml.safe_dump(knobs, sort_keys=False).encode()

    with replaced(place(trained, "params.yaml"), more_leaves):
        code, found = run(trained["model_version"])
    assert code == 1
    [told] = [each for each in found["differences"] if each["kind"] == "parameter"]
    assert told == {"kind": "parameter", "name": "train.lightgbm.parameters.num_leaves", "released": 31, "found": 63}
    assert names(found, "model") == ["sha256"]


def tree(folder: Path) -> Path:
    """A checkout of this code elsewhere, committed."""
    folder.mkdir()
    for name in ("flightdeck", "ml"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "as it was")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def named(release: dict[str, Any], code: str) -> Iterator[None]:
    """The run calls its code so."""
    client, before = tracking.connect(), registry.run(release["run_id"])["tags"]["code"]
    client.set_tag(release["run_id"], "code", code)
    yield
    client.set_tag(release["run_id"], "code", before)


def altered(folder: Path) -> None:
    """It goes on to learn otherwise."""
    path = folder / MODEL
    text = path.read_text()
    path.write_text(text.replace('rows["label"].to_numpy()', '1 - rows["label"].to_numpy()'))
    assert path.read_text() != text


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This checkout is another one, whose newest commit is what was trained with, and it has been changed since."""
    folder = tree(tmp_path / "checkout")
    altered(folder)
    monkeypatch.setattr(reproduce, "ROOT", folder)
    return folder


def test_code_that_the_checkout_has_no_more_comes_from_the_commit(trained: dict[str, Any], elsewhere: Path) -> None:
    commit = git(elsewhere, "rev-parse", "--short=12", "HEAD")
    with named(trained, commit):
        code, found = run(trained["model_version"])
    assert (code, found["same"], found["differences"]) == (0, True, [])
    assert found["code"] == {"released": commit, "used": f"commit {commit}"}


def test_the_whole_tree_of_the_commit_is_what_is_imported(trained: dict[str, Any], elsewhere: Path) -> None:
    """A commit whose shared part is broken, and whose pipeline is the same, cannot train: it is not this checkout's shared part that is used."""
    shutil.copyfile(ROOT / MODEL, elsewhere / MODEL)
    (elsewhere / "flightdeck/shift.py").write_text("raise ImportError('of that commit')\n")
    git(elsewhere, "add", ".")
    git(elsewhere, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "broken")
    shutil.copyfile(ROOT / "flightdeck/shift.py", elsewhere / "flightdeck/shift.py")
    altered(elsewhere)
    with named(trained, git(elsewhere, "rev-parse", "--short=12", "HEAD")):
        code, found = run(trained["model_version"])
    assert code == 1
    assert names(found, "output") == ["dvc repro"]
    assert "of that commit" in next(each["found"] for each in found["differences"] if each["kind"] == "output")


@pytest.mark.parametrize(
    ("code", "said"),
    [("{head}+changes", "the commit alone does not hold it"), ("files-0123456789ab", "is no commit"), ("0123456789ab", "is not in this checkout")],
    ids=["changes", "files", "unknown"],
)
def test_changed_code_is_named_and_why_it_cannot_be_had(trained: dict[str, Any], elsewhere: Path, code: str, said: str) -> None:
    # the commit holds the change, too
    git(elsewhere, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-am", "otherwise")
    with named(trained, code.format(head=git(elsewhere, "rev-parse", "--short=12", "HEAD"))):
        exit_code, found = run(trained["model_version"])
    assert exit_code == 1
    assert names(found, "code") == [MODEL]
    [told] = [each for each in found["differences"] if each["kind"] == "code"]
    assert told["found"] == hashlib.md5((elsewhere / MODEL).read_bytes()).hexdigest()
    assert any(said in note for note in found["notes"]), found["notes"]
    assert names(found, "model") == ["sha256"]


def test_where_there_is_no_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reproduce._archive("HEAD") is not None
    assert reproduce._archive("0123456789ab") is None
    # as in an image
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reproduce._archive("HEAD") is None


def test_commands_come_from_the_code_and_not_from_the_registry(trained: dict[str, Any], tmp_path: Path) -> None:
    with replaced(place(trained, "dvc.yaml"), lambda text: text.replace(b"python -m ml.train", f"touch {tmp_path}/run && python -m ml.train".encode())):
        code, found = run(trained["model_version"])
    assert (code, names(found, "code")) == (1, ["dvc.yaml"])
    assert found["sha256"] == trained["sha256"]
    assert list(tmp_path.iterdir()) == []


def test_another_environment_is_told_and_a_run_that_has_not_recorded_it_works(trained: dict[str, Any]) -> None:
    client, tags = tracking.connect(), registry.run(trained["run_id"])["tags"]
    recorded = {name: value for name, value in tags.items() if name.startswith("environment.")}
    assert {"environment.python", "environment.numpy", "environment.lightgbm", "environment.requirements.lock"} <= set(recorded)
    client.set_tag(trained["run_id"], "environment.numpy", "1.0")
    code, found = run(trained["model_version"])
    assert (code, found["environment"]) == (0, [{"name": "numpy", "released": "1.0", "found": recorded["environment.numpy"]}])
    for name in recorded:
        client.delete_tag(trained["run_id"], name)
    code, found = run(trained["model_version"])
    for name, value in recorded.items():
        client.set_tag(trained["run_id"], name, value)
    assert (code, found["same"], found["environment"]) == (0, True, [])


def test_an_unknown_version_is_told_with_those_that_there_are(trained: dict[str, Any]) -> None:
    done = CliRunner().invoke(main, ["reproduce", "987654"])
    assert done.exit_code == 1
    assert "there is no version 987654" in done.output
    assert str(registry.versions()[-1]) in done.output
    assert CliRunner().invoke(main, ["reproduce", "none"]).exit_code == 2


def test_a_version_that_was_taken_in_says_where_its_data_are(trained: dict[str, Any]) -> None:
    client = tracking.connect()
    client.set_tag(trained["run_id"], "taken_in", "release.json")
    done = CliRunner().invoke(main, ["reproduce", str(trained["model_version"])])
    client.delete_tag(trained["run_id"], "taken_in")
    assert done.exit_code == 1
    assert "taken in from release.json" in done.output
