"""The drill: back up, destroy the volumes, restore, compare, go on with the next month. A broken backup changes nothing."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.conftest import Compose

USER = 10001


@pytest.fixture(scope="module")
def project() -> Iterator[Compose]:
    own = Compose(f"fd-drill-{random.randrange(10**6)}")
    own.environment |= {"COMPOSE_PROFILES": "", "AIRFLOW_METRICS": "False"}
    own("build", timeout=1800)
    try:
        yield own
    finally:
        own("down", "--volumes", "--timeout", "20")


def command(project: Compose, folder: Path, *arguments: str) -> str:
    return project("run", "--rm", "--no-deps", "-v", f"{folder}:/backup", "flightdeck", *arguments, timeout=1500)


def test_everything_comes_back_and_the_loop_goes_on(project: Compose, tmp_path: Path) -> None:
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(tmp_path, USER, USER)
    project("up", "--detach", "--wait")
    command(project, tmp_path, "replay", "2013-01")
    before, models = project.status(), project.models()
    command(project, tmp_path, "backup", "/backup/1", "--secrets", "/backup/keys")
    tables: dict[str, Any] = json.loads((tmp_path / "1" / "manifest.json").read_text())["tables"]
    assert len(tables) > 100
    assert tables["warehouse.ops.ledger"].partition("/")[0] != "0"

    project("down", "--volumes", "--timeout", "20")
    project("run", "--rm", "--no-deps", "-v", f"{tmp_path}:/backup", "secrets", "sh", "-c", "cp /backup/keys/* /state/secrets/")
    project("up", "--detach", "--wait", "postgres", "objects")
    # one byte of the backup is another: nothing is restored
    broken = tmp_path / "1" / "databases" / "source"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(AssertionError, match=r"1 file\(s\) of the backup are not as they were written, such as databases/source"):
        command(project, tmp_path, "restore", "/backup/1")
    broken.write_bytes(whole)
    assert f"{len(tables)} tables are equal to it" in command(project, tmp_path, "restore", "/backup/1")

    project("up", "--detach", "--wait")
    with pytest.raises(AssertionError, match="still connected"):
        command(project, tmp_path, "restore", "/backup/1")
    after = project.status()
    assert after["partitions"] == before["partitions"]
    assert project.models() == models
    command(project, tmp_path, "replay", "2013-02")
    done = project.status()["partitions"]
    assert [row["key"] for row in done] == ["2013-01", "2013-02"]
    assert done[0] == before["partitions"][0]
    assert done[1]["champion"] == before["champion"]
