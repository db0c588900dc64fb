"""Raw partitions and reference data out of the warehouse, as Parquet: what another engine builds on.

    .venv/bin/python dbt_project/engines/export.py FOLDER 2013-01 2013-02

Runs in the platform's environment. Each raw table becomes a folder in FOLDER, with a file a partition, typed as the warehouse has it.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flightdeck.contracts import contracts
from flightdeck.lake import AS_WRITTEN, TYPES
from flightdeck.warehouse import Connection, connect

COLUMNS = (
    "select column_name as name, data_type as kind from information_schema.columns where table_schema = 'raw' and table_name = %s order by ordinal_position"
)


def export(folder: Path, keys: list[str]) -> None:
    with connect() as connection:
        connection.execute("set time zone 'UTC'")
        for table in contracts():
            kinds = {row["name"]: TYPES[row["kind"]] for row in connection.execute(COLUMNS, (table,))}
            # reference data have no partition
            for key in keys if "partition_key" in kinds else ["all"]:
                write(folder / table / f"{key}.parquet", rows(connection, table, key, kinds))


def rows(connection: Connection, table: str, key: str, kinds: dict[str, pa.DataType]) -> pa.Table:
    where = f"partition_key = '{key}'" if "partition_key" in kinds else "true"
    with connection.cursor().copy(f"copy (select * from raw.{table} where {where}) to stdout (format csv, header)".encode()) as copy:
        content = b"".join(copy)
    # a thread that is left when a short process ends can abort it
    alone = pa.csv.ReadOptions(use_threads=False)
    return pa.csv.read_csv(pa.BufferReader(content), read_options=alone, convert_options=pa.csv.ConvertOptions(column_types=kinds, **AS_WRITTEN))


def write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2:])
