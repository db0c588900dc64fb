"""Two real months by the same dbt models on DuckDB: every mart is PostgreSQL's, row for row."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.adapters.engines import ENGINES, KEYS, MARTS, assert_postgresql_s, exported, run

OUT = """
import duckdb, sys
with duckdb.connect(sys.argv[1]) as connection:
    connection.execute("set TimeZone = 'UTC'")
    for mart in sys.argv[3:]:
        connection.execute(f"copy marts.{mart} to '{sys.argv[2]}/{mart}.parquet'")
"""


@pytest.fixture(scope="module")
def built(database: str, environment: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with DuckDB's marts, as Parquet."""
    folder, python = tmp_path_factory.mktemp("duckdb"), environment("dbt_project/engines/requirements-duckdb.lock")
    raw, file = exported(folder / "raw"), folder / "warehouse.duckdb"
    run(python, ENGINES / "build.py", "duckdb", raw, file, *KEYS)
    run(python, "-c", OUT, file, folder, *MARTS)
    return folder


@pytest.mark.parametrize("mart", MARTS)
def test_every_row_is_postgresql_s(built: Path, mart: str) -> None:
    assert_postgresql_s(mart, pq.read_table(built / f"{mart}.parquet"))
