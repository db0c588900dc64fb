"""Great Expectations on one partition of one table, pushed down as SQL; its result goes to the store that Data Docs reads."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

# hundreds of lines at import once structlog is set up, and whole tracebacks of errors that are raised anyway
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

import great_expectations as gx  # noqa: E402
import great_expectations.expectations as gxe  # noqa: E402
import yaml  # noqa: E402
from great_expectations.data_context.types.base import DataContextConfig  # noqa: E402
from great_expectations.datasource.fluent.interfaces import TestConnectionError  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from flightdeck.settings import ROOT, settings  # noqa: E402

# Counts for all expectations, in few statements; for those that failed, also the query for all failing rows, which COMPLETE gives
# (its list of rows is cut at 20 on SQL). COMPLETE for all costs a third more.
COUNTS: Any = {"result_format": "BASIC", "partial_unexpected_count": 0}
ROWS: Any = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row_id"], "partial_unexpected_count": 0, "exclude_unexpected_values": True}


class CheckBroken(RuntimeError):
    """The check itself failed (connection, missing column, time-out): says nothing about the data, so its whole result is void."""


@dataclass
class Failure:
    """An expectation that did not hold: its name, what follows, in how many rows or what was found instead, and the SQL that lists the rows."""

    name: str
    then: str
    rows: int
    found: Any = None
    query: str | None = None

    def row_ids(self, place: str) -> str:
        """SQL that lists `row_id` of the failing rows, for use with parameters. Raises CheckBroken where the expectation names none."""
        if not self.query:
            raise CheckBroken(f"checking {place}: {self.name} names no rows to quarantine; its meta.then must be stop or count")
        return re.sub(r"(?s)^SELECT .*?\bFROM\b", "SELECT row_id FROM", self.query.rstrip(" ;\n"), count=1).replace("%", "%%")

    def __str__(self) -> str:
        name = self.name.rstrip(":")
        return f"{name} ({self.rows} rows)" if self.found is None else f"{name} (found {self.found})"


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
    name, place = f"{schema}.{table}", f"{schema}.{table} of {key}"
    expectations, ctx = _suite_of(schema, table), context()
    with _batch(ctx, schema, view, key, place) as batch:
        definition = ctx.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=ctx.suites.add(suite(name, expectations))))
        checkpoint = ctx.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition], result_format=COUNTS))
        result = next(iter(checkpoint.run(run_id=gx.RunIdentifier(run_name=key, run_time=datetime.now(UTC))).run_results.values()))
        outcome = _outcome(result, place)
        if failing := {failure.name: failure for failure in outcome.failures if failure.then == "quarantine"}:
            again = suite(name, [expectation for expectation in expectations if _name(expectation.configuration) in failing])
            for each in _sound(batch.get_batch().validate(again, result_format=ROWS), place):
                failing[_name(each.expectation_config)].query = each.result.get("unexpected_index_query")
    return outcome


def trial(schema: str, table: str, view: str, key: str) -> Outcome:
    """The same on rows that are not there yet; of its result nothing is kept. Raises CheckBroken."""
    place = f"{schema}.{table} of {key}, as it would be"
    with _batch(context(), schema, view, key, place) as batch:
        return _outcome(batch.get_batch().validate(suite(f"{schema}.{table}", _suite_of(schema, table)), result_format=ROWS), place)


def _suite_of(schema: str, table: str) -> list[Any]:
    expectations: list[Any] = import_module(f"expectations.suites.{schema}_{table}").EXPECTATIONS
    bounds = settings().expected_rows.get(f"{schema}.{table}")
    if bounds is None:
        return expectations
    rows = gxe.ExpectTableRowCountToBeBetween(min_value=bounds[0], max_value=bounds[1], meta={"then": "stop"})
    return [rows, *(each for each in expectations if not isinstance(each, gxe.ExpectTableRowCountToBeBetween))]


@contextmanager
def _batch(ctx: Any, schema: str, view: str, key: str, place: str) -> Iterator[Any]:
    """The partition as the tool sees it. What fails on the way to the warehouse is raised as CheckBroken."""
    url = f"{settings().database_url('worker', '+psycopg2')}?options=-cflightdeck.partition%3D{key}"
    source = ctx.data_sources.add_or_update_postgres("warehouse", connection_string=url)
    try:
        yield source.add_table_asset(view, table_name=view, schema_name=schema).add_batch_definition_whole_table(key)
    except (TestConnectionError, SQLAlchemyError) as error:
        raise CheckBroken(f"checking {place}: {error}") from error
    finally:
        source.get_engine().dispose()


def suite(name: str, expectations: list[Any]) -> Any:
    """A suite of copies: one and the same expectation cannot be in two."""
    return gx.ExpectationSuite(name=name, expectations=list(map(copy, expectations)))


def _name(config: Any) -> str:
    return f"{config.type}:{config.kwargs.get('column') or config.kwargs.get('column_A') or ''}"


def _outcome(result: Any, place: str) -> Outcome:
    outcome = Outcome(len(result.results), 0)
    for each in _sound(result, place):
        outcome.rows = max(outcome.rows, each.result.get("element_count") or 0)
        if not each.success:
            config = each.expectation_config
            found = each.result.get("observed_value")
            query = each.result.get("unexpected_index_query")
            outcome.failures.append(Failure(_name(config), config.meta["then"], each.result.get("unexpected_count") or 0, found, query))
    return outcome


def _sound(result: Any, place: str) -> list[Any]:
    """The results, each of an expectation that could be evaluated; one that could not voids them all."""
    for each in result.results:
        if broken := _raised(each.exception_info or {}):
            raise CheckBroken(f"checking {place}: {each.expectation_config.type}: {broken[0]}")
    return list(result.results)


def _raised(info: dict[str, Any]) -> list[str]:
    """exception_info is flat, or a dict of such by metric."""
    entries = [info] if "raised_exception" in info else list(info.values())
    return [str(entry["exception_message"]) for entry in entries if entry.get("raised_exception")]
