"""The marts on another engine, by the same dbt models.

    python dbt_project/engines/build.py ENGINE RAW PLACE 2013-01 2013-02

ENGINE is a target of profiles.yml beside this file; RAW a folder of Parquet files for each raw table, as export.py writes them; PLACE DuckDB's file, or the
folder of Spark's tables. It runs in the environment of the engine's lock, which has neither the platform nor PostgreSQL.

A partition may be read when `ops.published` has it. One that is there is left alone, so the same command goes on where it was cut off.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

QUIET = ["--quiet", "--log-level", "none", "--log-level-file", "none"]
PROJECT = Path(__file__).resolve().parent.parent
# what a plan is made of comes before its month's facts
PLAN = ["--select", "tag:plan", "path:tests/plans", "--indirect-selection", "buildable"]
FACTS = ["--select", "intermediate", "marts", "test_type:data", "--exclude", "path:tests/plans"]

Run = Callable[..., Any]


class NotBuilt(RuntimeError):
    """dbt did not build or test everything; the message names the nodes and their errors."""


def build(engine: str, raw: Path, place: Path, keys: list[str]) -> None:
    """Land, build and publish the partitions in key order, all in one process: some sessions are the only place where tables are."""
    if engine == "duckdb" and place.stem in ("raw", "ops", "staging", "intermediate", "marts"):
        sys.exit(f"{place.name}: DuckDB calls a database by its file's name, and {place.stem} is a schema in it; take another name")
    place.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"FLIGHTDECK_PLACE": str(place), "DBT_PROFILES_DIR": str(PROJECT / "engines"), "DBT_PROJECT_DIR": str(PROJECT)}
    os.environ |= dict.fromkeys(("DBT_TARGET_PATH", "DBT_LOG_PATH"), f"{place}.dbt")
    if engine == "sail" and "SPARK_REMOTE" not in os.environ:
        import sail

        sail.serve(place)
    run = partial(dbt, dbt(None, engine, "parse"), engine)
    operate(run, "land", folder=str(raw))
    states = ledger(run)
    run("seed")
    run("run")
    for key in keys:
        if states.get(key) == "started":
            operate(run, "record", key=key, state="failed", why="the process ended before the build did")
        if states.get(key) != "published":
            publish(run, key)


def publish(run: Run, key: str) -> None:
    """Build a partition, and let readers at it; a failing model or test leaves it unpublished, and the ledger says why."""
    operate(run, "record", key=key, state="started", why="")
    try:
        for nodes in (PLAN, FACTS):
            run("build", "--exclude-resource-type", "unit_test", "--vars", json.dumps({"partition": key}), *nodes)
    except NotBuilt as error:
        operate(run, "record", key=key, state="failed", why=str(error).replace("\\", "").replace("'", ""))
        raise
    operate(run, "record", key=key, state="published", why="")


def ledger(run: Run) -> dict[str, str]:
    """The last state of each partition that was ever begun."""
    shown = run("show", "--inline", "select partition_key, state from ops.ledger order by recorded_at", "--limit", "-1")
    return {row["partition_key"]: row["state"] for row in shown.results[0].agate_table.rows}


def operate(run: Run, macro: str, **arguments: str) -> None:
    run("run-operation", macro, "--args", json.dumps(arguments))


def dbt(manifest: Any, engine: str, *command: str) -> Any:
    """One dbt command on the parsed project; returns its result. Raises NotBuilt."""
    from dbt.cli.main import dbtRunner

    done = dbtRunner(manifest=manifest).invoke([*command, "--target", engine, *QUIET])
    if not done.success:
        results = [each for each in getattr(done.result, "results", []) if str(each.status) in ("error", "fail", "runtime error")]
        nodes = [f"{getattr(each, 'node', each).unique_id}: {each.message}" for each in results]
        raise NotBuilt(f"dbt {command[0]}: {'; '.join(nodes) or done.exception}")
    return done.result


if __name__ == "__main__":
    try:
        build(sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve(), sys.argv[4:])
    except NotBuilt as error:
        sys.exit(str(error))
