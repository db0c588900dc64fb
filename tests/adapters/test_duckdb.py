"""Two real months by the same dbt models on DuckDB: every mart is PostgreSQL's, row for row."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdeck.lake import _table
from flightdeck.settings import ROOT
from flightdeck.warehouse import connect
from tests.dbt_project.months import transformed

KEYS = ["2013-01", "2013-02"]
MARTS = {"features": "entity_id", "labels": "entity_id", "planned_departures": "entity_id", "route_history": "partition_key, origin, dest"}
ENGINES = ROOT / "dbt_project/engines"
OUT = """
import duckdb, sys
with duckdb.connect(sys.argv[1]) as connection:
    connection.execute("set TimeZone = 'UTC'")
    for mart, order in MARTS.items():
        connection.execute(f"copy (select * from marts.{mart} order by {order}) to '{sys.argv[2]}/{mart}.parquet'")
"""
COLUMNS = (
    "select column_name as name, data_type as type from information_schema.columns where table_schema = 'marts' and table_name = %s order by ordinal_position"
)


@pytest.fixture(scope="module")
def built(database: str, environment: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with DuckDB's marts, as Parquet."""
    for key in KEYS:
        transformed(key)
    folder, python = tmp_path_factory.mktemp("duckdb"), str(environment("dbt_project/engines/requirements-duckdb.lock"))
    script = str(ENGINES / "duckdb_build.py")
    run(sys.executable, script, "export", str(folder / "raw"), *KEYS)
    run(python, script, "build", str(folder / "raw"), str(folder / "warehouse.duckdb"), *KEYS)
    run(python, "-c", f"MARTS = {MARTS}\n{OUT}", str(folder / "warehouse.duckdb"), str(folder))
    return folder


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("mart", MARTS)
def test_every_row_is_postgresql_s(built: Path, mart: str) -> None:
    there = pq.read_table(built / f"{mart}.parquet")
    with connect() as connection:
        connection.execute("set time zone 'UTC'")
        columns = {row["name"]: row["type"] for row in connection.execute(COLUMNS, (mart,))}
        here = pa.concat_tables(_table(connection, mart, columns, key) for key in KEYS)
    assert there.column_names == here.column_names
    assert len(there) == len(here) > 100
    order = [(name, "ascending") for name in MARTS[mart].split(", ")]
    assert there.cast(here.schema).sort_by(order).equals(here.sort_by(order))
