"""What every source promises: its columns are all there, and their types stay."""

from typing import Any

MERGE: Any = {"disposition": "merge", "strategy": "delete-insert"}
# `data_type` is frozen always: an evolved type lands in a column of its own, and nobody notices
SCHEMA_CONTRACT: Any = {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}


class SourceError(RuntimeError):
    """A source failed or sent something malformed; the message names the source, the place and the cause."""


def require_columns(place: str, expected: list[str], found: list[str]) -> None:
    """A lost column is no error to the loader, which would fill it with nulls: so it is one here."""
    if lost := [name for name in expected if name not in found]:
        raise SourceError(f"{place} has no column {', '.join(lost)}; it has {', '.join(found)}")
    if new := [name for name in found if name not in expected]:
        raise SourceError(f"{place} has the new column {', '.join(new)}; add it to ingestion/tables.sql or leave it out at the source")
