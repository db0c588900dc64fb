"""The registries' file drops → landing.planes, airports, airlines: the newest dated folder at `as_of`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa

from flightdeck.contracts import Contract, contracts
from flightdeck.partitions import Partition
from ingestion.contract import Reading, SourceError, hints
from ingestion.files import dropped, read


def resources(reading: Reading) -> list[Any]:
    folder = newest_drop(dropped(), reading.as_of)
    return [_resource(folder, contract, reading) for contract in contracts().values() if contract.source == "registry"]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Nothing: a newer drop is of the partition that it comes in, and changes no earlier one."""
    return 0


def newest_drop(folder: Path, as_of: datetime) -> Path:
    """The newest folder named by a date at or before `as_of`."""
    date = as_of.astimezone(UTC).date().isoformat()
    drops = sorted(path for path in folder.glob("????-??-??") if path.name <= date)
    if not drops:
        raise SourceError(f"registry has no drop at or before {date} in {folder}")
    return drops[-1]


def _resource(folder: Path, contract: Contract, reading: Reading) -> Any:
    @dlt.resource(**hints(contract))
    def rows() -> Iterator[pa.Table]:
        yield read(folder / f"{contract.table}.csv", contract.table, "registry", reading)

    return rows
