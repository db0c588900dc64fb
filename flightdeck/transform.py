"""The stage `transform`: one dbt build of one partition, in process, and the ledger row that lets readers at it."""

import json
import os
import shutil
from dataclasses import asdict
from typing import Any

from flightdeck import ledger
from flightdeck.settings import ROOT, settings
from flightdeck.warehouse import connect, lock

PARTITIONED = ["--select", "intermediate", "marts", "test_type:singular"]


class BuildFailed(RuntimeError):
    """dbt did not build or test everything; the message names the nodes and their errors."""


def build(key: str | None) -> dict[str, Any]:
    """Begin an attempt of `transform` and build the partition's models with their tests; returns the attempt."""
    with ledger.step(ledger.begin("transform", key)) as attempt, connect() as connection, lock(connection, f"build/{attempt.key}"):
        source = ledger.last("ingest", attempt.key)
        if source is None:
            raise BuildFailed(f"{attempt.key} has not been published by ingest; run `ingest` for it first")
        attempt.inputs["ingest"] = source["attempt"]
        if attempt.key in ledger.published():
            # readers must not see a partition half old and half new
            attempt.record("withdrawn")
        options = ["--no-write-json", "--cache-selected-only", "--exclude-resource-type", "unit_test"]
        results = run("build", *PARTITIONED, *options, "--vars", json.dumps({"partition": attempt.key}))
        attempt.facts["rows"] = {node.node.name: node.adapter_response.get("rows_affected") for node in results if node.node.resource_type == "model"}
        attempt.facts["tests"] = sum(node.node.resource_type == "test" for node in results)
    return asdict(attempt)


def publish(handed: dict[str, Any]) -> None:
    """Let readers at the partition that was built and checked."""
    with ledger.step(ledger.Attempt(**handed)) as attempt, connect() as connection, connection.transaction():
        attempt.claim(connection)
        attempt.record("published", connection)


def prepare() -> None:
    """Make all relations: with no partition named, the tables stay empty. So seeds, views and marts exist from the first day."""
    run("seed", "--no-write-json")
    run("run", "--no-write-json")


def docs() -> None:
    """dbt's documentation as one self-contained page of the reports site."""
    run("docs", "generate", "--static")
    target = settings().reports / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(settings().home / "dbt" / "static_index.html", target / "index.html")


def run(*command: str) -> list[Any]:
    """One dbt command on the parsed project; returns its node results. Raises BuildFailed."""
    from dbt.cli.main import dbtRunner

    s = settings()
    os.environ |= {
        "DBT_ENV_SECRET_WORKER": s.secret("postgres_worker"),
        "FLIGHTDECK_WAREHOUSE_HOST": s.host,
        "FLIGHTDECK_WAREHOUSE_PORT": str(s.port_postgres),
        "DBT_PROJECT_DIR": str(ROOT / "dbt_project"),
        "DBT_PROFILES_DIR": str(ROOT / "dbt_project"),
        "DBT_TARGET_PATH": str(s.home / "dbt"),
        "DBT_LOG_PATH": str(s.logs),
    }
    quiet = ["--quiet", "--log-level", "none", "--log-level-file", "none"]
    # changed variables would force a full parse (9 s against 2): so the project is parsed without them, and handed over
    parsed = dbtRunner().invoke(["parse", *quiet])
    done = dbtRunner(manifest=parsed.result).invoke([*command, *quiet]) if parsed.success else parsed
    if done.exception:
        raise BuildFailed(f"dbt {command[0]}: {done.exception}") from done.exception
    results = list(getattr(done.result, "results", []))
    if failed := [f"{node.node.name}: {node.message}" for node in results if str(node.status) in ("error", "fail", "runtime error")]:
        raise BuildFailed(f"dbt {command[0]}: {'; '.join(failed)}")
    return results


if __name__ == "__main__":
    prepare()
    docs()
