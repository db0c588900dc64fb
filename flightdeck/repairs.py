"""Repair rules: what becomes of rows that a check would hold, one YAML file a rule in expectations/repairs/."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import Field, ValidationError, model_validator

from flightdeck.contracts import Strict, contracts, rows_of
from flightdeck.partitions import InvalidPartition, partition
from flightdeck.settings import ROOT

FOLDER = ROOT / "expectations/repairs"
# raw has no place for two rows of a key, nor for a row without what its contract requires: who lets them pass lets the publication fail
NO_WAIVER = ["expect_column_values_to_be_unique:entity_id", "expect_column_values_to_be_between:required_nulls"]


class BadRule(ValueError):
    """A rule that cannot be applied; the message names the file and the cause."""


class Waiver(Strict):
    """The rows pass as they are, up to and including this day (UTC)."""

    until: date


class Rule(Strict):
    """Which held rows of a table are meant (by what they failed, by a condition on their columns, or both), and what becomes of them.

    `set` gives columns a new value, each by a SQL expression over the row as it came; `waive` lets the row pass. `by` is a team.
    """

    name: str
    table: str
    expectation: str | None = None
    where: str | None = None
    partitions: list[str] = Field(default_factory=list)
    set: dict[str, str] = Field(default_factory=dict)
    waive: Waiver | None = None
    reason: str = Field(min_length=1)
    by: str = Field(min_length=1)

    @model_validator(mode="after")
    def _says_which_and_what(self) -> "Rule":
        if not (self.expectation or self.where):
            raise ValueError("says of no row that it is meant: it needs expectation, where, or both")
        if bool(self.set) == bool(self.waive):
            raise ValueError("needs one of set and waive")
        return self

    @property
    def expired(self) -> bool:
        return self.waive is not None and self.waive.until < today()

    def covers(self, table: str, key: str) -> bool:
        return self.table == table and (not self.partitions or key in self.partitions)


def today() -> date:
    return datetime.now(UTC).date()


def place(name: str) -> str:
    """A rule's file, from the top of the repository where it is in it."""
    path = FOLDER / f"{name}.yml"
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def rules() -> list[Rule]:
    """All rules in the order of their names, which is that in which they are applied. Raises BadRule; an expired waiver is none."""
    return [_read(path) for path in sorted(FOLDER.glob("*.yml"))]


def faults() -> list[str]:
    """What is wrong with the rules' files, each with its file: also waivers that have expired, which nothing needs any more."""
    found = []
    for path in sorted(FOLDER.glob("*.yml")):
        try:
            refuse_expired(_read(path))
        except BadRule as error:
            found.append(str(error))
    return found


def refuse_expired(rule: Rule) -> None:
    if rule.waive and rule.expired:
        raise BadRule(f"{place(rule.name)}: the waiver has expired on {rule.waive.until}; its rows are held again: prolong it, or take the file away")


def _read(path: Path) -> Rule:
    try:
        values = yaml.safe_load(path.read_text())
        rule = Rule.model_validate(values | {"name": path.stem} if isinstance(values, dict) else values)
    except yaml.YAMLError as error:
        raise BadRule(f"{place(path.stem)}: is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        said = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ").removeprefix("Value error, ") for each in error.errors()]
        raise BadRule(f"{place(path.stem)}: {'; '.join(said)}") from error
    if found := _wrong(rule):
        raise BadRule(f"{place(path.stem)}: {'; '.join(found)}")
    return rule


def _wrong(rule: Rule) -> list[str]:
    """What the contract and the suite of the rule's table do not know."""
    contract = contracts().get(rule.table)
    if not contract:
        return [f"table {rule.table} has no contract; those that have: {', '.join(contracts())}"]
    found = [f"set: {rule.table} has no column {name}" for name in rule.set if name not in contract.columns]
    for what, text in {"where": rule.where or "true", **{f"set.{name}": text for name, text in rule.set.items()}}.items():
        found += [f"{what}: {cause}" for cause in _sql(text, rule.table, {*contract.columns, "partition_key"})]
    known = rows_of(rule.table)
    if rule.expectation and rule.expectation not in known:
        found.append(f"the suite of {rule.table} has no {rule.expectation}; it has {', '.join(known)}")
    if rule.waive and rule.expectation in NO_WAIVER:
        found.append(f"{rule.expectation} cannot be waived: raw takes no such row")
    for key in rule.partitions:
        try:
            partition(key)
        except InvalidPartition as error:
            found.append(f"partitions: {error}")
    return found


def _sql(text: str, table: str, columns: set[str]) -> list[str]:
    """What is wrong with an expression over one row of `table`."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        # by itself, so that it cannot end the bracket that it is put into; then in it, so that it is no statement
        alone = sqlglot.parse(text, read="postgres")
        tree: Any = sqlglot.parse_one(f"select ({text}\n)", read="postgres")
    except SqlglotError as error:
        return [f"does not parse: {str(error).splitlines()[0]}"]
    if len(alone) != 1 or alone[0] is None or len(list(tree.find_all(exp.Query))) > 1:
        return ["must be one expression over the row, without a query of its own"]
    named = {column.sql(dialect="postgres").replace('"', "") for column in tree.find_all(exp.Column)}
    return [f"{table} has no column {name}" for name in sorted(named - columns)]


@click.command()
def main() -> None:
    """Say what is wrong with the repair rules."""
    for fault in (found := faults()):
        click.echo(fault)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
