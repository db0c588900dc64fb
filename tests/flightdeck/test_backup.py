"""A backup holds every row and file, and is put back only whole; on a PostgreSQL of its own, which it may destroy."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flightdeck import backup
from flightdeck.backup import BackupFailed
from flightdeck.settings import settings
from tests.sandbox import environment

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = """
import sys
from pathlib import Path
import psycopg
from flightdeck import backup, secrets, stack
from flightdeck.settings import settings
from flightdeck.warehouse import connect

def refused(what):
    try:
        backup.restore(place, print)
    except backup.BackupFailed as error:
        assert what in str(error), error
    else:
        raise AssertionError(f"restored, although {what}")

place = Path(sys.argv[1])
stack.make_folders()
settings().home.chmod(0o711)
secrets.ensure()
stack.start_manager()
try:
    stack.start(["postgres"])
    stack.wait(["postgres"], 60)
    stack.make_databases()
    with connect() as connection:
        connection.execute(
            "insert into ops.ledger (partition_key, stage, attempt, state, code)"
            " select '2013-01', 'ingest', n, 'started', 'x' from generate_series(1, 500) n"
        )
        connection.execute("create table marts.features as select n, 'é' || n as text, n / 3.0 as part from generate_series(1, 1000) n")
    for folder, name in ((settings().lake, "a.parquet"), (settings().dvc_remote, "b"), (settings().reports, "index.html")):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).write_text(name)
    before = backup.checksums()
    backup.backup(place, place.with_name("keys"), print)
    assert (place.with_name("keys") / "postgres_worker").stat().st_mode & 0o777 == 0o600
    try:
        backup.backup(place, None, print)
    except backup.BackupFailed as error:
        assert "not empty" in str(error)
    else:
        raise AssertionError("written over a backup")

    with connect() as connection:
        refused("still connected: worker in warehouse")
        connection.execute("drop table marts.features")
        connection.execute("insert into quarantine.rows (source_table, partition_key, row, expectation) values ('a', 'b', '{}', 'c')")
    (Path(settings().lake) / "a.parquet").unlink()
    assert backup.checksums() != before
    dump = place / "databases" / "warehouse"
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-1])
    refused("not as they were written, such as databases/warehouse")
    assert "warehouse.marts.features" not in backup.checksums()
    dump.write_bytes(whole)
    backup.restore(place, print)
    assert backup.checksums() == before
    assert (Path(settings().lake) / "a.parquet").read_text() == "a.parquet"
    # rights and rules came back, too
    with connect("reader") as reader:
        assert reader.execute("select count(*) as n from marts.features").fetchone()["n"] == 1000
    with connect("source_reader") as reader:
        assert reader.execute("select has_schema_privilege('public', 'usage') as may").fetchone()["may"]
    with connect() as connection:
        try:
            connection.execute("delete from ops.ledger")
        except psycopg.errors.RaiseException as error:
            assert "append-only" in str(error)
        else:
            raise AssertionError("the ledger can be changed")
    (place / "manifest.json").unlink()
    refused("no backup in")
finally:
    stack.down()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fd-u-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_a_backup_is_apart_from_what_it_is_of(database: str, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="is inside the state folder, and would be lost with it"):
        backup.backup(settings().home / "backups" / "1", None, lambda _: None)
    assert not (settings().home / "backups").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupFailed, match="is not empty"):
        backup.backup(tmp_path, None, lambda _: None)


def test_what_was_lost_comes_back_and_nothing_else_stays(place: Path) -> None:
    (place / "home").mkdir(mode=0o711)
    own = environment(str(place / "home"))
    done = subprocess.run([sys.executable, "-c", WORK, str(place / "backup")], cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
