"""The marts in a DuckDB file, by the same dbt models: for notebooks, and for checks that need no server.

    .venv/bin/python dbt_project/engines/duckdb_build.py export FOLDER 2013-01 2013-02
    python dbt_project/engines/duckdb_build.py build FOLDER FILE 2013-01 2013-02

`export` takes raw partitions and reference data out of the warehouse, as Parquet, in the platform's environment; `build` runs in that of
requirements-duckdb.lock, which has neither the platform nor PostgreSQL.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SCHEMAS = ("raw", "ops", "staging", "intermediate", "marts")
PROJECT = Path(__file__).resolve().parent.parent
# what a plan is made of comes before its month's facts
PLAN = ["--select", "tag:plan", "path:tests/plans", "--indirect-selection", "buildable"]
FACTS = ["--select", "intermediate", "marts", "test_type:data", "--exclude", "path:tests/plans"]


def export(folder: Path, keys: list[str]) -> None:
    """Each raw table as FOLDER/<table>.parquet, typed as the warehouse has it."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    from flightdeck.contracts import contracts
    from flightdeck.lake import AS_WRITTEN, TYPES
    from flightdeck.warehouse import connect

    folder.mkdir(parents=True, exist_ok=True)
    with connect() as connection:
        connection.execute("set time zone 'UTC'")
        for table in contracts():
            rows = connection.execute(
                "select column_name as name, data_type as kind from information_schema.columns where table_schema = 'raw' and table_name = %s"
                " order by ordinal_position", (table,),
            ).fetchall()  # fmt: skip
            kinds = {row["name"]: TYPES[row["kind"]] for row in rows}
            where = " where partition_key = any(%s)" if "partition_key" in kinds else " where %s::text[] is not null"
            with connection.cursor().copy(f"copy (select * from raw.{table}{where}) to stdout (format csv, header)".encode(), (keys,)) as copy:
                content = b"".join(copy)
            read = pa.csv.read_csv(pa.BufferReader(content), convert_options=pa.csv.ConvertOptions(column_types=kinds, **AS_WRITTEN))
            pq.write_table(read, folder / f"{table}.parquet")


def build(folder: Path, file: Path, keys: list[str]) -> None:
    """Land, build and publish the partitions in key order; a failing model or test ends it with dbt's own words."""
    import duckdb

    if file.stem in SCHEMAS:
        sys.exit(f"{file.name}: DuckDB calls a database by its file's name, and {file.stem} is a schema in it; take another name")
    file.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute("set TimeZone = 'UTC'; create schema raw; create schema ops")
        for path in sorted(folder.glob("*.parquet")):
            connection.execute(f"create table raw.{path.stem} as select * from '{path}'")
        connection.execute('create table ops.published (partition_key text, "at" timestamptz)')
    dbt(file, "seed")
    dbt(file, "run")
    for key in keys:
        for nodes in (PLAN, FACTS):
            dbt(file, "build", "--exclude-resource-type", "unit_test", "--vars", json.dumps({"partition": key}), *nodes)
        with duckdb.connect(str(file)) as connection:
            connection.execute("insert into ops.published values (?, now())", [key])


def dbt(file: Path, *command: str) -> None:
    places = {"DBT_PROFILES_DIR": PROJECT / "engines", "DBT_TARGET_PATH": file.parent / "dbt", "DBT_LOG_PATH": file.parent / "dbt"}
    environment = os.environ | {name: str(place) for name, place in places.items()} | {"FLIGHTDECK_DUCKDB": str(file)}
    subprocess.run([str(Path(sys.executable).with_name("dbt")), *command, "--quiet"], cwd=PROJECT, env=environment, check=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "export":
        export(Path(rest[0]), rest[1:])
    else:
        build(Path(rest[0]).resolve(), Path(rest[1]).resolve(), rest[2:])
