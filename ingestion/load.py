"""The first step of a stage that ingests: its sources' rows of a partition into `landing`, by dlt, one load of a source at a time."""

import shutil
import tempfile
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from typing import Any

import dlt
import psycopg
from dlt.pipeline.exceptions import PipelineStepFailed
from psycopg import sql
from psycopg.types.json import Jsonb

from flightdeck import ledger
from flightdeck.contracts import Contract, contracts
from flightdeck.partitions import Partition, partition
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import Connection, connect, lock
from ingestion import operations, registry, stations, timetable
from ingestion.contract import Reading, SourceError
from ingestion.names import nameless, nameless_row
from ingestion.settle import settle

# stage → its sources. A plan is read as it was known when its partition began, facts as of the newest closing.
STAGES: dict[str, dict[str, Any]] = {
    "ingest": {"operations": operations, "stations": stations, "registry": registry},
    "timetable": {"timetable": timetable},
}
NEW = """
select attname as name, format_type(atttypid, atttypmod) as kind from pg_attribute l
where attrelid = ('landing.' || %(table)s)::regclass and attnum > 0 and not attisdropped and attname <> 'partition_key' and not exists (
    select from pg_attribute r where r.attrelid = ('raw.' || %(table)s)::regclass and r.attname = l.attname)"""


def load(key: str | None, stage: str = "ingest") -> dict[str, Any]:
    """Begin an attempt of `stage` and land all its sources; returns the attempt, for `check` and `publish` to go on with."""
    with ledger.step(ledger.begin(stage, key)) as attempt, connect() as connection:
        as_of = known_at(stage, partition(attempt.key))
        attempt.inputs["as_of"] = as_of.isoformat()
        for source, module in modules(stage).items():
            _land(connection, attempt, source, module, Reading(partition(attempt.key), as_of))
    return asdict(attempt)


def modules(stage: str) -> dict[str, Any]:
    """{source: the module that reads it}: ours, or what the setting `sources` names instead. Raises SourceError if that is none."""
    chosen = settings().sources
    if unknown := chosen.keys() - {source for sources in STAGES.values() for source in sources}:
        raise SourceError(f"the setting `sources` names {', '.join(sorted(unknown))}, and there is no such source")
    return {source: _chosen(source, chosen[source]) if source in chosen else module for source, module in STAGES[stage].items()}


def _chosen(source: str, name: str) -> Any:
    try:
        module = import_module(name)
    except (ImportError, SyntaxError, TypeError, ValueError) as error:
        raise SourceError(f"the setting `sources` names {name!r} for {source}, which cannot be imported: {error}") from error
    if lacking := [each for each in ("resources", "changed") if not callable(getattr(module, each, None))]:
        raise SourceError(f"the setting `sources` names {name!r} for {source}, which has no {' and no '.join(lacking)}")
    return module


def known_at(stage: str, partition: Partition) -> datetime:
    """A plan: its partition's start. Facts: the newest time that any partition's were read at, its own closing at least."""
    return partition.start if stage == "timetable" else max([partition.closes, *ledger.read_until(stage).values()])


def tables(source: str) -> list[Contract]:
    """The contracts of what a source brings."""
    return [contract for contract in contracts().values() if contract.source == source]


def _land(connection: Connection, attempt: ledger.Attempt, source: str, module: Any, reading: Reading) -> None:
    # two loads of one partition at once would each take the other's rows for old ones, and two of a source may both change its tables
    with lock(connection, f"landing/{source}"):
        attempt.still_newest(connection)
        attempt.inputs[source] = _run(source, module, reading)
        replace(connection, source, attempt.key, attempt.inputs[source])
        for contract in tables(source):
            if contract.on_change.new == "evolve":
                _evolve(connection, contract.table)
            make_batch(connection, contract.table)
            loaded = _loaded(connection, contract.table, attempt.key, attempt.inputs[source])
            rejected = _reject(connection, attempt, contract, reading, loaded)
            attempt.facts[f"landed_{contract.table}"] = loaded + rejected
            attempt.facts |= {f"{what}_{contract.table}": rows for what, rows in settle(connection, contract, attempt.key).items()}
    if reading.notes:
        attempt.facts["schema_changes"] = attempt.facts.get("schema_changes", []) + reading.notes


def _run(source: str, module: Any, reading: Reading) -> str:
    """One dlt load; returns its load id. Its working folder is its own: what a failed run left pending cannot be loaded by the next."""
    folder = tempfile.mkdtemp(dir=settings().home / "work", prefix=f"dlt-{source}-")
    try:
        destination = dlt.destinations.postgres(settings().database_url("worker"))
        pipeline = dlt.pipeline(source, pipelines_dir=folder, dataset_name="landing", destination=destination)
        info = pipeline.run(nameless(module.resources(reading)), loader_file_format="csv")
        info.raise_on_failed_jobs()
    except PipelineStepFailed as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, SourceError):
            cause = cause.__cause__ or cause.__context__
        raise cause or SourceError(f"{source}, load of {reading.partition.key} failed in step {error.step}: {error.exception}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # the tool loads nothing where there is nothing
    if not info.loads_ids and not all(map(may_be_empty, tables(source))):
        raise SourceError(f"{source} has no rows for {reading.partition.key}")
    return str((info.loads_ids or [""])[0])


def may_be_empty(contract: Contract) -> bool:
    """Whether the setting says that a partition of the table may have no rows."""
    return settings().expected_rows.get(f"landing.{contract.table}", (1, 0))[0] == 0


def replace(connection: Connection, source: str, key: str, load_id: str) -> None:
    """Leave only this load's rows of the partition: dlt appends, which takes a third of its merge's time, and what a killed load left goes too.

    After the load, so that one that fails leaves the rows before it.
    """
    delete = "delete from landing.{} where partition_key = %s and _dlt_load_id is distinct from %s"
    for contract in tables(source):
        # the tool makes a table of its first rows
        if connection.execute("select to_regclass(%s) as it", (f"landing.{contract.table}",)).fetchone() == {"it": None}:
            raise SourceError(f"{contract.table} has no rows for {key}, and never had any: begin with a partition that has")
        _index(connection, contract.table)
        connection.execute(sql.SQL(delete).format(sql.Identifier(contract.table)), (key, load_id))


def raw_columns(connection: Connection) -> dict[str, list[str]]:
    """The columns of each raw table, in order."""
    rows = connection.execute("select table_name, column_name from information_schema.columns where table_schema = 'raw' order by ordinal_position").fetchall()
    columns: dict[str, list[str]] = {}
    for row in rows:
        columns.setdefault(row["table_name"], []).append(row["column_name"])
    return columns


def make_batch(connection: Connection, table: str) -> None:
    """The view on one landed partition. Two who make the same view at once collide, `or replace` or not."""
    view = (ROOT / f"ingestion/batches/{table}.sql").read_bytes()
    with lock(connection, "landing/batches"):
        try:
            connection.execute(view)
        except psycopg.errors.InvalidTableDefinition:
            # columns may be added to a view, but not changed: that of an older version makes way
            with connection.transaction():
                connection.execute(sql.SQL("drop view landing.{}").format(sql.Identifier(f"{table}_batch")))
                connection.execute(view)


def _index(connection: Connection, table: str) -> None:
    connection.execute(sql.SQL("create index if not exists {} on landing.{} (partition_key)").format(sql.Identifier(f"{table}_key"), sql.Identifier(table)))


def _evolve(connection: Connection, table: str) -> None:
    """Raw follows landing: a new column that the contract lets in gets its place there."""
    for column in connection.execute(NEW, {"table": table}).fetchall():
        name = sql.Identifier(column["name"])
        connection.execute(sql.SQL("alter table raw.{} add column if not exists {} {}").format(sql.Identifier(table), name, sql.SQL(column["kind"])))


def _loaded(connection: Connection, table: str, key: str, load_id: str) -> int:
    """Rows of this load, counted in the table: dlt's own counts are wrong for some formats."""
    count = "select count(*) as n from landing.{} where partition_key = %s and _dlt_load_id = %s"
    row = connection.execute(sql.SQL(count).format(sql.Identifier(table)), (key, load_id)).fetchone()
    return int(row["n"]) if row else 0


def _reject(connection: Connection, attempt: ledger.Attempt, contract: Contract, reading: Reading, loaded: int) -> int:
    """Keep what could not be read for `publish` to hold; raises SourceError when it is more than the contract stands, or nothing is left."""
    rejected = [row for row in reading.rejected if row.table == contract.table]
    if len(rejected) > contract.most_quarantined * (loaded + len(rejected)):
        raise SourceError(f"{len(rejected)} of {loaded + len(rejected)} rows of {contract.table} cannot be read, the first: {rejected[0].reason}")
    if not loaded and not may_be_empty(contract):
        raise SourceError(f"{contract.table} has no rows for {attempt.key}")
    with connection.transaction():
        connection.execute("delete from landing.rejected where source_table = %s and partition_key = %s", (contract.table, attempt.key))
        with connection.cursor() as cursor:
            values = [(contract.table, attempt.key, attempt.number, Jsonb(row.row), row.reason) for row in map(nameless_row, rejected)]
            cursor.executemany("insert into landing.rejected values (%s, %s, %s, %s, %s)", values)
    return len(rejected)
