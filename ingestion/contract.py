"""A source against its contract: which columns are read, what became of them, and which rows could not be read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import index
from typing import Any

import pyarrow as pa

from flightdeck.contracts import Contract, contracts
from flightdeck.partitions import Partition


class SourceError(RuntimeError):
    """A source failed or sent something malformed; the message names the source, the place and the cause."""


@dataclass(frozen=True)
class Rejected:
    """A row that no table can take as it is: kept as text, with the reason."""

    table: str
    row: dict[str, Any]
    reason: str


@dataclass
class Reading:
    """A source read for one partition, as known at `as_of`; `notes` and `rejected` say what was met on the way."""

    partition: Partition
    as_of: datetime
    notes: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def columns(self, table: str, place: str, found: Iterable[str]) -> list[str]:
        """The columns to read of those `found` at `place`. Raises SourceError, by name, where the contract says stop."""
        contract, found = contracts()[table], list(found)
        new = [name for name in found if name not in contract.columns]
        lost = [name for name in contract.columns if name not in found]
        stops = [name for name in lost if contract.on_change.lost == "stop" or contract.columns[name].required]
        if stops:
            renamed = f" (renamed to {', '.join(new)}?)" if new else ""
            raise SourceError(f"{place} has no column {', '.join(stops)}{renamed}; it has {', '.join(found)}")
        if new and contract.on_change.new == "stop":
            raise SourceError(
                f"{place} has the new column {', '.join(new)}; add it to ingestion/contracts/{table}.yml and ingestion/tables.sql, or let it evolve"
            )
        for names, what in (
            (lost, "lost, filled with nothing"),
            (new, {"ignore": "new, ignored", "evolve": "new, taken over"}.get(contract.on_change.new, "")),
        ):
            self.notes += [note for name in names if (note := f"{place}: column {name} {what}") not in self.notes]
        return [*contract.columns, *(new if contract.on_change.new == "evolve" else [])]

    def typed(self, table: str, place: str, rows: list[dict[str, Any]], convert: Mapping[str, Callable[[Any], Any]]) -> list[dict[str, Any]]:
        """`rows` with each value converted by its column's type; a row with a value that is none is rejected, and the others go on."""
        contract, good = contracts()[table], []
        # a column that no row has is a matter of `columns`, one that some lack is a fault of these
        present = set().union(*rows)
        evolved = [name for name in present if name not in contract.columns] if contract.on_change.new == "evolve" else []
        for row in rows:
            try:
                if absent := [name for name in contract.columns if name in present and name not in row]:
                    raise ValueError(f"{', '.join(absent)} is not there")
                values = {name: _value(name, row.get(name), column.required, convert[column.type]) for name, column in contract.columns.items()}
                good.append(values | {name: row.get(name) for name in evolved})
            except ValueError as error:
                self.rejected.append(Rejected(table, {name: _text(value) for name, value in row.items()}, f"{place}: {error}"))
        return good


def hints(contract: Contract) -> dict[str, Any]:
    """The table's dlt resource. Its `data_type` is frozen always: an evolved type lands in a column of its own, and nobody notices."""
    return {
        "name": contract.table,
        "write_disposition": "append",
        "columns": {"partition_key": {"data_type": "text", "nullable": False}},
        "schema_contract": {"tables": "evolve", "columns": "evolve" if contract.on_change.new == "evolve" else "freeze", "data_type": "freeze"},
    }


ARROW = {"integer": pa.int64(), "double precision": pa.float64(), "text": pa.string(), "timestamp with time zone": pa.timestamp("us", "UTC")}


def arrow_types(table: str) -> dict[str, pa.DataType]:
    """The Arrow type of each column of the contract."""
    return {name: ARROW[column.type] for name, column in contracts()[table].columns.items()}


def number(value: Any) -> float:
    """A JSON number, and nothing that only looks like one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if "\0" in value:
        raise ValueError("has a NUL, which no table keeps")
    value.encode()  # what was no UTF-8 raises
    return value


def time(value: str) -> datetime:
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        raise ValueError(f"{value} has no zone")
    return parsed


JSON: dict[str, Callable[[Any], Any]] = {"integer": index, "double precision": number, "text": text, "timestamp with time zone": time}


def _value(name: str, value: Any, required: bool, convert: Callable[[Any], Any]) -> Any:
    if value is None:
        if required:
            raise ValueError(f"{name} is missing")
        return None
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {str(error)[:200]}") from error


def _text(value: Any) -> Any:
    """As the quarantine can keep it: PostgreSQL's JSON has no NUL, JSON no NaN, and UTF-8 no lone surrogates."""
    if isinstance(value, str | float):
        return str(value).replace("\0", "\\0").encode(errors="backslashreplace").decode()
    return value
