"""Two real months on another engine: what the tests of engines share."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from flightdeck.lake import _table
from flightdeck.settings import ROOT
from flightdeck.warehouse import connect
from tests.dbt_project.months import transformed

KEYS = ["2013-01", "2013-02"]
MARTS = {"features": "entity_id", "labels": "entity_id", "planned_departures": "entity_id", "route_history": "partition_key, origin, dest"}
ENGINES = ROOT / "dbt_project/engines"
COLUMNS = (
    "select column_name as name, data_type as type from information_schema.columns where table_schema = 'marts' and table_name = %s order by ordinal_position"
)


def run(*command: object, **environment: str) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"


def exported(folder: Path) -> Path:
    """The two months' raw rows as Parquet; in PostgreSQL their marts are built."""
    for key in KEYS:
        transformed(key)
    run(sys.executable, ENGINES / "export.py", folder, *KEYS)
    return folder


def assert_postgresql_s(mart: str, there: pa.Table) -> None:
    """Every row of the mart is there, with the same values; floats to the last bit."""
    with connect() as connection:
        connection.execute("set time zone 'UTC'")
        columns = {row["name"]: row["type"] for row in connection.execute(COLUMNS, (mart,))}
        here = pa.concat_tables(_table(connection, mart, columns, key) for key in KEYS)
    assert set(there.column_names) == set(here.column_names)
    assert len(there) == len(here) > 100
    order = [(name, "ascending") for name in MARTS[mart].split(", ")]
    assert there.select(here.column_names).cast(here.schema).sort_by(order).equals(here.sort_by(order))
