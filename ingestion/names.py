"""Columns that name people, as their contract says (`subject: true`): only pseudonyms land, in the tables and in the quarantine."""

from functools import partial
from typing import Any

import pyarrow as pa

from flightdeck.contracts import contracts
from flightdeck.subjects import Pseudonyms
from ingestion.contract import Rejected


def nameless(resources: list[Any]) -> list[Any]:
    """The dlt resources, those that name people behind a map. Without the vault the load fails: a name is not what one falls back to."""
    for resource in resources:
        if columns := _columns(resource.name):
            resource.add_map(partial(_mapped, columns, Pseudonyms("worker")))
    return resources


def nameless_row(rejected: Rejected) -> Rejected:
    """A row that could not be read, without the names in it, or in the reason."""
    row, reason, pseudonyms = dict(rejected.row), rejected.reason, Pseudonyms("worker")
    for name in _columns(rejected.table):
        if value := row.get(name):
            row[name] = pseudonyms.of(str(value))
            reason = reason.replace(str(value), row[name])
    return Rejected(rejected.table, row, reason)


def _columns(table: str) -> list[str]:
    return [name for name, column in contracts()[table].columns.items() if column.subject]


def _mapped(columns: list[str], pseudonyms: Pseudonyms, table: pa.Table) -> pa.Table:
    for name in columns:
        values = table[name].combine_chunks().dictionary_encode()
        made = [value and pseudonyms.of(value) for value in values.dictionary.to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(made, pa.string()).take(values.indices))
    return table
