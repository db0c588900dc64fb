"""Backup and restore of everything that holds state: four databases, the objects, what the stages have written, and, apart from them, the secrets.

The tools do the work: pg_dump and pg_restore, and Arrow's file systems for objects, wherever they are.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from flightdeck.code import code_version
from flightdeck.launch import postgres_bin
from flightdeck.settings import settings

NAMES = ["warehouse", "source", "mlflow", "airflow"]
# what stages leave in the state folder; all else in there is made anew
FOLDERS = ["reports", "expectations", "logs/airflow"]
OBJECTS = ["lake", "artifacts", "dvc_remote"]
MANIFEST = "manifest.json"
TABLES = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1"
OTHERS = "select distinct usename || ' in ' || datname as who from pg_stat_activity where datname = any(%s) and pid <> pg_backend_pid()"
Progress = Callable[[str], None]


class BackupFailed(RuntimeError):
    """Nothing was restored, or the backup is not whole; the message says why, and what to do."""


def _check(place: Path) -> None:
    """Raises BackupFailed where no backup can be."""
    if place.exists() and any(place.iterdir()):
        raise BackupFailed(f"{place} is not empty; a backup needs a folder of its own")
    if place.resolve().is_relative_to(settings().home.resolve()):
        raise BackupFailed(f"{place} is inside the state folder, and would be lost with it; choose another place")


def backup(place: Path, secrets: Path | None, tell: Progress) -> dict[str, Any]:
    """Write a backup into the folder `place`, which must be empty or new, and the secrets into another; returns its manifest.

    Each database is of one moment. Let no month be on its way, so that all are of the same.
    """
    _check(place)
    for folder in (place / "databases", place / "objects", place / "state"):
        folder.mkdir(parents=True, mode=0o700)
    tables: dict[str, str] = {}
    for name in NAMES:
        tell(f"database {name}")
        # services go on writing: the sums are of the very moment that is dumped
        with _connect(name) as connection, connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            row = connection.execute("select pg_export_snapshot()").fetchone()
            snapshot = f"--snapshot={row[0] if row else ''}"
            _run("pg_dump", "--format=custom", snapshot, f"--file={place / 'databases' / name}", f"--dbname={name}")
            tables |= _sums(name, connection)
    for name in OBJECTS:
        tell(f"objects of {name}")
        _copy(getattr(settings(), name), str(place / "objects" / name))
    for name in FOLDERS:
        if (settings().home / name).exists():
            shutil.copytree(settings().home / name, place / "state" / name)
    if secrets:
        shutil.copytree(settings().home / "secrets", secrets)
        secrets.chmod(0o700)
    tell("checksums")
    manifest = {"at": datetime.now(UTC).isoformat(), "code": code_version(), "tables": tables, "files": _files(place)}
    (place / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return manifest


def restore(place: Path, tell: Progress) -> dict[str, Any]:
    """Put a backup in place of what is there, and prove it; returns its manifest. Its secrets must be in the state folder already.

    Only PostgreSQL and the objects may run. Nothing is changed unless the whole backup has the checksums that it was written with.
    """
    manifest = _proved(place)
    for name in NAMES:
        tell(f"database {name}")
        with _connect(name) as connection:
            for schema in _schemas(connection):
                connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
            # as a new database has it: a dump says what differs from that
            connection.execute("create schema if not exists public authorization pg_database_owner")
            connection.execute("grant usage on schema public to public")
        _run("pg_restore", "--exit-on-error", "--single-transaction", "--clean", "--if-exists", f"--dbname={name}", str(place / "databases" / name))
    for name in OBJECTS:
        tell(f"objects of {name}")
        _copy(str(place / "objects" / name), getattr(settings(), name))
    for name in FOLDERS:
        if (place / "state" / name).exists():
            shutil.copytree(place / "state" / name, settings().home / name, dirs_exist_ok=True)
    tell("checksums")
    if different := sorted(name for name, sum_ in checksums().items() if manifest["tables"].get(name) != sum_):
        raise BackupFailed(f"restored, but not equal to the backup: {', '.join(different)}")
    return manifest


def _proved(place: Path) -> dict[str, Any]:
    """The manifest of a backup that is whole, where nobody else is connected."""
    try:
        manifest: dict[str, Any] = json.loads((place / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupFailed(f"no backup in {place}: it has no {MANIFEST}, which is written last") from None
    found = _files(place)
    if broken := sorted(name for name, sum_ in manifest["files"].items() if found.get(name) != sum_):
        raise BackupFailed(f"{len(broken)} file(s) of the backup are not as they were written, such as {broken[0]}; take another backup")
    with _connect("postgres") as connection:
        if others := [row[0] for row in connection.execute(OTHERS, (NAMES,))]:
            raise BackupFailed(f"still connected: {', '.join(others)}; stop all services but postgres and objects first")
    return manifest


def checksums() -> dict[str, str]:
    """{database.schema.table: "rows/sum of its rows' hashes"}; the order of rows does not matter."""
    found: dict[str, str] = {}
    for database in NAMES:
        with _connect(database) as connection:
            found |= _sums(database, connection)
    return found


def _sums(database: str, connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    found = {}
    for (table,) in connection.execute(TABLES).fetchall():
        query = f"select count(*) || '/' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) from {table} t"
        row = connection.execute(query.encode()).fetchone()
        found[f"{database}.{table}"] = row[0] if row else ""
    return found


def _connect(database: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(settings().database_url("flightdeck", database=database), autocommit=True)


def _schemas(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    return [row[0] for row in connection.execute("select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'")]


def _run(tool: str, *options: str) -> None:
    """One of PostgreSQL's tools, as the administrator; the password is not on the command line."""
    s = settings()
    place = {"PGHOST": s.at("postgres"), "PGPORT": str(s.port_postgres), "PGUSER": "flightdeck", "PGPASSWORD": s.secret("postgres_flightdeck")}
    done = subprocess.run([str(postgres_bin() / tool), *options], env=os.environ | place, capture_output=True, text=True)
    if done.returncode:
        raise BackupFailed(f"{tool} {options[-1]}: {done.stderr.strip()[:1000]}")


def _copy(source: str, target: str) -> None:
    from pyarrow import fs

    (from_store, from_path), (to_store, to_path) = _place(source), _place(target)
    if from_store.get_file_info(from_path).type == fs.FileType.NotFound:
        return
    to_store.create_dir(to_path, recursive=True)
    fs.copy_files(from_path, to_path, source_filesystem=from_store, destination_filesystem=to_store)


def _place(place: str) -> Any:
    from pyarrow import fs

    return fs.FileSystem.from_uri(place if "://" in place else str(Path(place).resolve()))


def _files(place: Path) -> dict[str, str]:
    """{path: sha256} of all files but the manifest."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path != place / MANIFEST:
            with path.open("rb") as file:
                found[str(path.relative_to(place))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
