"""Records that a tool hands over, as rows that land: those of the partition that were known at the time, in the contract's types."""

from datetime import datetime
from typing import Any

import pyarrow as pa

from flightdeck.contracts import contracts
from ingestion.contract import JSON, Reading, SourceError, arrow_types, time


def landed(reading: Reading, table: str, records: list[Any], place: str, not_null: bool = False) -> pa.Table:
    """The rows of the partition as known at `as_of`; what belongs elsewhere is left out. Raises SourceError where the contract says stop.

    A column that the contract does not know is never taken over here: tools add columns of their own. `not_null`: required columns land as such,
    where our own source of the table lands them so; dlt's frozen types refuse a change of it.
    """
    for record in records:
        if not isinstance(record, dict):
            raise SourceError(f"{place}: {str(record)[:200]} is not a record")
    here = [record for record in records if belongs(reading, table, record)]
    for shape in {tuple(record) for record in here}:
        reading.columns(table, place, shape)
    known = contracts()[table].columns
    ours = [{name: value for name, value in record.items() if name in known} for record in here]
    typed = reading.typed(table, place, ours, JSON) if ours else []
    fields = [pa.field(name, kind, nullable=not (not_null and known[name].required)) for name, kind in arrow_types(table).items()]
    schema = pa.schema([*fields, ("partition_key", pa.string())])
    return pa.Table.from_pylist([row | {"partition_key": reading.partition.key} for row in typed], schema=schema)


def belongs(reading: Reading, table: str, record: dict[str, Any], after: datetime | None = None) -> bool:
    """Whether the record is of the partition and known at `as_of`, and recorded later than `after`. What cannot be told is: it is rejected with its reason."""
    contract = contracts()[table]
    try:
        event = time(record[contract.event_time]) if contract.event_time else reading.partition.start
        known = time(record[contract.version]) if contract.version else reading.as_of
    except (AttributeError, KeyError, TypeError, ValueError):
        return after is None
    return reading.partition.start <= event < reading.partition.end and known <= reading.as_of and (after is None or after < known)
