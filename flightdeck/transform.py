"""The stage `transform`: one dbt build of one partition, in process, and the ledger row that lets readers at it."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from typing import Any, NamedTuple

from psycopg import sql

from flightdeck import ledger
from flightdeck.airflow_api import Airflow
from flightdeck.partitions import looking_back
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import Connection, connect, lock


class Nodes(NamedTuple):
    """A selection of dbt's, and its options."""

    select: tuple[str, ...]
    options: tuple[str, ...]


PARTITIONED = Nodes(("intermediate", "marts", "test_type:data"), ("--exclude", "path:tests/plans"))
# `buildable`: no test that needs more than the plans and what they are made of
PLANNED = Nodes(("tag:plan", "path:tests/plans"), ("--indirect-selection", "buildable"))
# models with this tag are what a partition hands on to later ones
CARRIED = "carried"
QUIET = ["--quiet", "--log-level", "none", "--log-level-file", "none"]
CHECKSUM = sql.SQL("select md5(string_agg(t::text, '' order by t::text)) as sum from {} t where partition_key = %s")


class BuildFailed(RuntimeError):
    """dbt did not build or test everything; the message names the nodes and their errors."""


def build(key: str | None, among: tuple[str, ...] = ()) -> dict[str, Any]:
    """Begin an attempt of `transform` and build the partition's models with their tests; returns the attempt.

    among: where it is not empty, only what these selections of dbt's name, like `state:modified+`.
    """
    with ledger.step(ledger.begin("transform", key)) as attempt, connect() as connection, lock(connection, "build"):
        attempt.still_newest(connection)
        source = ledger.last("ingest", attempt.key)
        if source is None:
            raise BuildFailed(f"{attempt.key} has not been published by ingest; run `ingest` for it first")
        if withdrawn := [key for key in ledger.withdrawn() if key < attempt.key]:
            # its history would be that of an older partition, and stay it
            raise BuildFailed(f"{', '.join(withdrawn)} is being built anew, and {attempt.key} is built on it; run `transform` for it again, the earlier first")
        attempt.inputs["ingest"] = source["attempt"]
        carried = _carried(connection, attempt.key)
        if attempt.key in ledger.published():
            # readers must not see a partition half old and half new
            attempt.record("withdrawn")
        results = _build(PARTITIONED, attempt.key, among)
        attempt.facts |= _facts(results)
        attempt.facts["carried_changed"] = _carried(connection, attempt.key) != carried
    return asdict(attempt)


def publish(handed: dict[str, Any]) -> None:
    """Let readers at the partition that was built and checked; the next ones are reopened when what they were built from has changed."""
    with ledger.step(ledger.Attempt(**handed)) as attempt, connect() as connection, connection.transaction():
        attempt.claim(connection)
        if attempt.facts["carried_changed"] and (later := _reached(attempt.key)):
            attempt.outputs["reopened"] = later
            for key in later:
                ledger.reopen(connection, "transform", key, {}, {"built_from": attempt.key})
        attempt.record("published", connection)


def rebuild_next(key: str) -> None:
    """Start the runs of the partitions that publishing `key` has reopened, if any."""
    done = ledger.last("transform", key)
    for reopened in done["outputs"].get("reopened", []) if done else []:
        Airflow().trigger("transform", reopened)


def _reached(key: str) -> list[str]:
    """The published partitions that are built on what `key` hands on: the next one, which hands on in its turn, and others that look back as far."""
    later = [each for each in ledger.published() if each > key]
    if not later:
        return []
    return looking_back(key, later, max(node.config.meta.get("reaches_hours", 0) for node in _carrying()))


def plan(key: str | None, among: tuple[str, ...] = ()) -> None:
    """Build the models that need only what was planned for the partition, so that requests can be answered before its facts come."""
    with ledger.step(ledger.begin("plan", key)) as attempt, connect() as connection, lock(connection, f"plan/{attempt.key}"):
        results = _build(PLANNED, attempt.key, among)
        attempt.facts = _facts(results)
        attempt.record("done")


def _build(nodes: Nodes, key: str, among: tuple[str, ...] = ()) -> list[Any]:
    options = ["--no-write-json", "--cache-selected-only", "--exclude-resource-type", "unit_test", "--vars", json.dumps({"partition": key})]
    # a comma is dbt's `and`
    select = [f"{each},{one}" for each in nodes.select for one in among] if among else nodes.select
    return run("build", "--select", *select, *nodes.options, *options)


def _facts(results: list[Any]) -> dict[str, Any]:
    """dbt's invocation, rows by model, how many tests ran, and what those that count found."""
    from dbt_common.invocation import get_invocation_id

    return {
        "invocation": get_invocation_id(),
        "rows": {node.node.name: node.adapter_response.get("rows_affected") for node in results if node.node.resource_type == "model"},
        "tests": sum(node.node.resource_type == "test" for node in results),
        "warnings": {node.node.name: node.failures for node in results if str(node.status) == "warn"},
    }


def _carried(connection: Connection, key: str) -> dict[str, str | None]:
    """A checksum of each relation that the partition hands on."""
    sums = {}
    for relation in _handed_on():
        row = connection.execute(CHECKSUM.format(sql.Identifier(*relation)), (key,)).fetchone()
        sums[".".join(relation)] = row["sum"] if row else None
    return sums


def _handed_on() -> list[tuple[str, str]]:
    return sorted((node.schema, node.alias) for node in _carrying())


@lru_cache
def _carrying() -> list[Any]:
    return [node for node in _parsed().nodes.values() if node.resource_type == "model" and CARRIED in node.tags]


def prepare(among: tuple[str, ...] = ()) -> None:
    """Make all relations: with no partition named, the tables stay empty. So seeds, views and marts exist from the first day.

    among: where it is not empty, only what these selections of dbt's name, and anew: what was in such a table is gone.
    """
    anew = ["--full-refresh", "--select", *among] if among else []
    for command in ("seed", "run"):
        run(command, "--no-write-json", *anew)


def docs() -> None:
    """dbt's documentation as one self-contained page of the reports site."""
    run("docs", "generate", "--static")
    target = settings().reports / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(settings().home / "dbt" / "static_index.html", target / "index.html")


def run(*command: str) -> list[Any]:
    """One dbt command on the parsed project; returns its node results. Raises BuildFailed."""
    done = _invoke(_parsed(), *command)
    if done.exception:
        raise BuildFailed(f"dbt {command[0]}: {done.exception}") from done.exception
    # models first: the tests that fail with one say less
    results = sorted(getattr(done.result, "results", []), key=lambda node: node.node.resource_type != "model")
    if failed := [f"{node.node.name}: {node.message}" for node in results if str(node.status) in ("error", "fail", "runtime error")]:
        raise BuildFailed(f"dbt {command[0]}: {'; '.join(failed)}")
    return results


def _invoke(manifest: Any, *command: str) -> Any:
    """One dbt command on a thread of its own: dbt walks the caller's stack dozens of times as it starts, which takes seconds where that is deep."""
    from dbt.cli.main import dbtRunner

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(dbtRunner(manifest=manifest).invoke, [*command, *QUIET]).result()


def _parsed() -> Any:
    """dbt's manifest. Changed variables would force a full parse (9 s against 2): so the project is parsed without them, and handed over."""
    s = settings()
    os.environ |= {
        "DBT_ENV_SECRET_WORKER": s.secret("postgres_worker"),
        "FLIGHTDECK_WAREHOUSE_HOST": s.at("postgres"),
        "FLIGHTDECK_WAREHOUSE_PORT": str(s.port_postgres),
        "DBT_PROJECT_DIR": str(ROOT / "dbt_project"),
        "DBT_PROFILES_DIR": str(ROOT / "dbt_project"),
        "DBT_TARGET_PATH": str(s.home / "dbt"),
        "DBT_LOG_PATH": str(s.logs),
    }
    parsed = _invoke(None, "parse")
    if not parsed.success:
        raise BuildFailed(f"dbt parse: {parsed.exception}") from parsed.exception
    return parsed.result


if __name__ == "__main__":
    prepare()
    docs()
