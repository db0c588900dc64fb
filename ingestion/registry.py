"""The registries' file drops → landing.planes, airports, airlines: the newest dated folder at `as_of`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.csv

from flightdeck.partitions import Partition
from flightdeck.settings import settings
from ingestion.contract import MERGE, SCHEMA_CONTRACT, SourceError, require_columns

TEXT = ["tailnum", "type", "manufacturer", "model", "engine", "faa", "name", "dst", "tzone", "carrier"]
WHOLE = ["year", "engines", "seats", "speed", "alt"]
TYPES = {name: pa.string() for name in TEXT} | {name: pa.int64() for name in WHOLE} | {name: pa.float64() for name in ("lat", "lon", "tz")}
TABLES = ["planes", "airports", "airlines"]


def resources(partition: Partition, columns: dict[str, list[str]]) -> list[Any]:
    folder = newest_drop(settings().home / "world" / "files", partition)
    return [_resource(folder / f"{name}.csv", partition.key, columns[name]) for name in TABLES]


def newest_drop(folder: Path, partition: Partition) -> Path:
    """The newest folder named by a date at or before the partition's closing."""
    closes = partition.closes.date().isoformat()
    drops = sorted(path for path in folder.glob("????-??-??") if path.name <= closes)
    if not drops:
        raise SourceError(f"registry has no drop at or before {closes} in {folder}")
    return drops[-1]


def _resource(path: Path, key: str, columns: list[str]) -> Any:
    @dlt.resource(name=path.stem, write_disposition=MERGE, merge_key="partition_key", schema_contract=SCHEMA_CONTRACT)
    def rows() -> Iterator[pa.Table]:
        try:
            options = pa.csv.ConvertOptions(column_types=TYPES, null_values=["NA", ""], strings_can_be_null=True)
            table = pa.csv.read_csv(path, convert_options=options)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"registry, file {path.name} of {path.parent.name}: {error}") from error
        require_columns(f"registry, file {path.name} of {path.parent.name}", columns, table.column_names)
        yield table.append_column("partition_key", pa.array([key] * len(table), pa.string()))

    return rows
