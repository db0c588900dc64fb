"""Data contracts: what each source table promises, one YAML file a table in ingestion/contracts/."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import click
import yaml
from pydantic import BaseModel, ConfigDict

from flightdeck.settings import ROOT

CONTRACTS = "ingestion/contracts"
TABLES = "ingestion/tables.sql"
SOURCES = "dbt_project/models/staging/sources.yml"
# what ingestion adds to a table's own columns
OURS = {"partition_key", "entity_id", "_dlt_load_id"}
ALIASES = {"int": "integer", "timestamptz": "timestamp with time zone"}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """PostgreSQL's name of the type; `required` columns have a value in every row. Of a `subject`, which is a person's name, only the pseudonym lands."""

    type: str
    required: bool = False
    subject: bool = False


class OnChange(Strict):
    """What follows when the source's columns are no longer these. A type that changed always stops the load."""

    new: Literal["stop", "ignore", "evolve"]
    lost: Literal["stop", "fill"]


class Volume(Strict):
    """Rows a load may bring."""

    min: int
    max: int


class Contract(Strict):
    """What a source table promises. `key` names a row's subject, `version` the column by which the newest of a key's rows wins."""

    table: str
    source: str
    owner: str
    description: str
    key: list[str]
    version: str | None = None
    event_time: str | None = None
    # hours from the newest event to the partition's end
    freshness_hours: float | None = None
    volume: Volume
    # share of a load's rows in quarantine from which nothing of it is published
    most_quarantined: float
    on_change: OnChange
    columns: dict[str, Column]


@lru_cache
def contracts(root: Path = ROOT) -> dict[str, Contract]:
    """All contracts by table, in the order of their names."""
    return {path.stem: Contract.model_validate(yaml.safe_load(path.read_text())) for path in sorted((root / CONTRACTS).glob("*.yml"))}


def differences(root: Path = ROOT) -> list[str]:
    """Where the raw tables, batch views, suites and dbt sources say something else than the contracts, each with both values."""
    raw = dict(re.findall(r"create table if not exists raw\.(\w+) \((.*?)\);", (root / TABLES).read_text(), re.DOTALL))
    sources = {f"{source['name']}.{table['name']}": table for source in yaml.safe_load((root / SOURCES).read_text())["sources"] for table in source["tables"]}
    found = [f"{TABLES}: raw.{table} has no contract" for table in raw if table not in contracts(root)]
    for table, contract in contracts(root).items():
        found += [f"{CONTRACTS}/{table}.yml: {difference}" for difference in _differ("table", contract.table, table)]
        found += [f"{TABLES}: raw.{table}: {difference}" for difference in _raw(contract, raw.get(table, ""))]
        found += [f"{SOURCES}: {contract.source}.{table}: {difference}" for difference in _source(contract, sources.get(f"{contract.source}.{table}", {}))]
        view, suite = (root / name for name in (f"ingestion/batches/{table}.sql", f"expectations/suites/landing_{table}.py"))
        missing = [path for path in (view, suite) if not path.is_file()]
        found += [f"{path.relative_to(root)}: is not there, and {table} has a contract" for path in missing]
        if not missing:
            found += [f"{view.relative_to(root)}: {difference}" for difference in _view(contract, view.read_text())]
            found += [f"{suite.relative_to(root)}: {difference}" for difference in _suite(contract, suite.read_text(), view.read_text())]
    return found


def rows_of(table: str, root: Path = ROOT) -> list[str]:
    """The names of the expectations on values in the suite of a landing table: those that can name rows, as results and the quarantine call them."""
    found = _expectations((root / f"expectations/suites/landing_{table}.py").read_text())
    return [
        f"{re.sub(r'(?<!^)(?=[A-Z])', '_', kind).lower()}:{values.get('column') or values.get('column_A') or ''}" for kind, values in found if "Value" in kind
    ]


def _differ(what: str, here: Any, contract: Any) -> list[str]:
    return [] if here == contract else [f"{what}: {here!r} here, {contract!r} in the contract"]


def _columns(here: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    for name in sorted((here.keys() | contract.keys()) - OURS):
        yield from _differ(name, here.get(name, "nothing"), contract.get(name, "nothing"))


def _raw(contract: Contract, definition: str) -> Iterator[str]:
    here = {}
    for name, kind, required in re.findall(r"(\w+) ([a-z ]+?)( not null| primary key)?(?:,|$)", " ".join(definition.split())):
        here[name] = ALIASES.get(kind, kind) + (", required" if required else "")
    yield from _columns(here, {name: column.type + (", required" if column.required else "") for name, column in contract.columns.items()})


def _source(contract: Contract, here: dict[str, Any]) -> Iterator[str]:
    yield from _differ("description", here.get("description"), contract.description)
    yield from _differ("owner", here.get("config", {}).get("meta", {}).get("owner"), contract.owner)
    columns = {column["name"]: column.get("data_type") for column in here.get("columns", [])}
    yield from _columns(columns, {name: column.type for name, column in contract.columns.items()})


def _view(contract: Contract, text: str) -> Iterator[str]:
    nulls = re.search(r"num_nulls\(([^)]*)\) as required_nulls", text)
    required = {name for name, column in contract.columns.items() if column.required}
    yield from _differ("required_nulls counts", sorted(re.findall(r"\w+", nulls.group(1) if nulls else "")), sorted(required))


def _suite(contract: Contract, text: str, view: str) -> Iterator[str]:
    expectations = _expectations(text)
    yield from _differ("row count", _bounds(expectations, "ExpectTableRowCountToBeBetween"), (contract.volume.min, contract.volume.max))
    freshness = _bounds(expectations, "ExpectColumnMinToBeBetween", "hours_before_end")
    yield from _differ("hours_before_end", freshness, contract.freshness_hours and (None, contract.freshness_hours))
    yield from _differ("required_nulls", _bounds(expectations, "ExpectColumnValuesToBeBetween", "required_nulls"), (None, 0))
    known = contract.columns.keys() | OURS | set(re.findall(r"\bas (\w+)", view))
    named = {values[each] for _, values in expectations for each in ("column", "column_A", "column_B") if each in values}
    yield from (f"column {name}: neither the contract nor the batch view has it" for name in sorted(named - known))


def _expectations(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Class and literal arguments of each expectation, read without importing the tool."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [
        (ast.unparse(call.func).rpartition(".")[2], {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg and each.arg != "meta"})
        for call in calls
    ]


def _bounds(expectations: list[tuple[str, dict[str, Any]]], name: str, column: str | None = None) -> tuple[Any, Any] | None:
    found = [values for each, values in expectations if each == name and values.get("column") == column]
    return (found[0].get("min_value"), found[0].get("max_value")) if found else None


@click.command()
def main() -> None:
    """Say where contracts and what follows from them differ."""
    for difference in (found := differences()):
        click.echo(difference)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
