"""Great Expectations on one partition of one table, pushed down as SQL; its result goes to the store that Data Docs reads."""

import logging
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

# hundreds of lines at import once structlog is set up, and whole tracebacks of errors that are raised anyway
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

import great_expectations as gx  # noqa: E402
import yaml  # noqa: E402
from great_expectations.data_context.types.base import DataContextConfig  # noqa: E402
from great_expectations.datasource.fluent.interfaces import TestConnectionError  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from flightdeck.settings import ROOT, settings  # noqa: E402

# partial_unexpected_count 0 with COMPLETE gives the query for all failing rows; the index list itself is cut at 20 on SQL
RESULT_FORMAT: Any = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": ["row_id"],
    "partial_unexpected_count": 0,
    "exclude_unexpected_values": True,
}


class CheckBroken(RuntimeError):
    """The check itself failed (connection, missing column, time-out): says nothing about the data, so its whole result is void."""


@dataclass
class Failure:
    """An expectation that did not hold: its name, what follows, how many rows, and the SQL that lists them (or None)."""

    name: str
    then: str
    rows: int
    query: str | None


@dataclass
class Outcome:
    expectations: int
    rows: int
    failures: list[Failure] = field(default_factory=list)


def context() -> Any:
    """A context of its own for each check, from great_expectations.yml."""
    config = yaml.safe_load((ROOT / "expectations/great_expectations.yml").read_text())
    return gx.get_context(mode="ephemeral", project_config=DataContextConfig(**config))


def validate(schema: str, table: str, view: str, key: str) -> Outcome:
    """Run the suite of `schema.table` on the partition `key` as `view` shows it. Raises CheckBroken."""
    suite = import_module(f"expectations.suites.{schema}_{table}")
    ctx = context()
    url = f"{settings().database_url('worker', '+psycopg2')}?options=-cflightdeck.partition%3D{key}"
    source = ctx.data_sources.add_or_update_postgres("warehouse", connection_string=url)
    try:
        batch = source.add_table_asset(view, table_name=view, schema_name=schema).add_batch_definition_whole_table(key)
        name = f"{schema}.{table}"
        definition = ctx.validation_definitions.add(
            gx.ValidationDefinition(
                name=name, data=batch, suite=ctx.suites.add(gx.ExpectationSuite(name=name, expectations=list(map(copy, suite.EXPECTATIONS))))
            )
        )
        checkpoint = ctx.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], result_format=RESULT_FORMAT))
        result = next(iter(checkpoint.run(run_id=gx.RunIdentifier(run_name=key)).run_results.values()))
    except (TestConnectionError, SQLAlchemyError) as error:
        raise CheckBroken(f"checking {schema}.{table} of {key}: {error}") from error
    finally:
        source.get_engine().dispose()
    return _outcome(result, f"{schema}.{table} of {key}")


def _outcome(result: Any, place: str) -> Outcome:
    rows = 0
    outcome = Outcome(len(result.results), 0)
    for each in result.results:
        if broken := _raised(each.exception_info or {}):
            raise CheckBroken(f"checking {place}: {each.expectation_config.type}: {broken[0]}")
        rows = max(rows, each.result.get("element_count") or 0)
        if not each.success:
            config = each.expectation_config
            column = config.kwargs.get("column") or config.kwargs.get("column_A") or ""
            query = each.result.get("unexpected_index_query")
            outcome.failures.append(Failure(f"{config.type}:{column}", config.meta["then"], each.result.get("unexpected_count") or 0, query))
    outcome.rows = rows
    return outcome


def _raised(info: dict[str, Any]) -> list[str]:
    """exception_info is flat, or a dict of such by metric."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return [str(entry["exception_message"]) for entry in entries if entry.get("raised_exception")]
