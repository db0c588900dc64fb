"""The first step of `ingest`: every source's rows of a partition into `landing`, by dlt, one load of a source at a time."""

import shutil
import tempfile
from dataclasses import asdict
from typing import Any

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed
from psycopg import sql

from flightdeck import ledger
from flightdeck.partitions import partition
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import Connection, connect, lock
from ingestion import operations, registry, stations
from ingestion.contract import SourceError

# source → the tables that it brings
SOURCES: dict[str, tuple[Any, list[str]]] = {
    "operations": (operations, ["flights"]),
    "stations": (stations, ["weather"]),
    "registry": (registry, registry.TABLES),
}
OURS = {"partition_key", "entity_id", "_dlt_load_id"}


def load(key: str | None) -> dict[str, Any]:
    """Begin an attempt of `ingest` and land all sources; returns the attempt, for `check` and `publish` to go on with."""
    with ledger.step(ledger.begin("ingest", key)) as attempt, connect() as connection:
        columns = {table: [name for name in names if name not in OURS] for table, names in raw_columns(connection).items()}
        for source, (module, tables) in SOURCES.items():
            # dlt's staging is shared by all loads of a source, whatever their partitions: two at once lose or double rows
            with lock(connection, f"landing/{source}"):
                attempt.inputs[source] = _run(source, module.resources(partition(attempt.key), columns), attempt.key)
                _index(connection, tables)
        make_batches(connection)
        for source, (_, tables) in SOURCES.items():
            for table in tables:
                attempt.facts[f"landed_{table}"] = _landed(connection, table, attempt.key, attempt.inputs[source])
    return asdict(attempt)


def _run(source: str, resources: list[Any], key: str) -> str:
    """One dlt load; returns its load id. Its working folder is its own: what a failed run left pending cannot be loaded by the next."""
    folder = tempfile.mkdtemp(dir=settings().home / "work", prefix=f"dlt-{source}-")
    try:
        destination = dlt.destinations.postgres(settings().database_url("worker"), staging_dataset_name_layout=f"%s_staging_{source}")
        pipeline = dlt.pipeline(source, pipelines_dir=folder, dataset_name="landing", destination=destination)
        info = pipeline.run(resources, loader_file_format="csv")
        info.raise_on_failed_jobs()
    except PipelineStepFailed as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, SourceError):
            cause = cause.__cause__ or cause.__context__
        raise cause or SourceError(f"{source}, load of {key} failed in step {error.step}: {error.exception}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not info.loads_ids:
        raise SourceError(f"{source} has no rows for {key}")
    return str(info.loads_ids[0])


def raw_columns(connection: Connection) -> dict[str, list[str]]:
    """The columns of each raw table, in order."""
    rows = connection.execute("select table_name, column_name from information_schema.columns where table_schema = 'raw' order by ordinal_position").fetchall()
    columns: dict[str, list[str]] = {}
    for row in rows:
        columns.setdefault(row["table_name"], []).append(row["column_name"])
    return columns


def make_batches(connection: Connection) -> None:
    """The views on one landed partition. Two who make the same view at once collide, `or replace` or not."""
    with lock(connection, "landing/batches"):
        connection.execute((ROOT / "ingestion/batches.sql").read_bytes())


def _index(connection: Connection, tables: list[str]) -> None:
    for table in tables:
        connection.execute(sql.SQL("create index if not exists {} on landing.{} (partition_key)").format(sql.Identifier(f"{table}_key"), sql.Identifier(table)))


def _landed(connection: Connection, table: str, key: str, load_id: str) -> int:
    """Rows that this load landed, counted in the table: dlt's own counts are wrong for some formats, and a source that has become
    empty leaves the rows of the load before where they were."""
    count = "select count(*) as n from landing.{} where partition_key = %s and _dlt_load_id = %s"
    row = connection.execute(sql.SQL(count).format(sql.Identifier(table)), (key, load_id)).fetchone()
    if not row or not row["n"]:
        raise SourceError(f"{table} has no rows for {key}")
    return int(row["n"])
