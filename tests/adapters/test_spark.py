"""Two real months by the same dbt models on Spark, and on Sail by Spark Connect: every mart is PostgreSQL's, row for row."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import ROOT
from tests.adapters.engines import ENGINES, KEYS, MARTS, assert_postgresql_s, exported, run

Environment = Callable[[str], Path]
PARTITIONED = ds.partitioning(pa.schema([("partition_key", pa.string())]), flavor="hive")


@pytest.fixture(scope="module")
def raw(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("spark") / "raw")


@pytest.fixture(scope="module")
def killed(raw: Path, environment: Environment) -> Path:
    """Spark's folder after a build that was killed in the second month, with all of its processes."""
    if shutil.which("java") is None:
        pytest.fail("Spark needs Java 17 or later on the PATH; on Debian and Ubuntu: apt install openjdk-17-jre-headless")
    python, place = environment("dbt_project/engines/requirements-spark.lock"), raw.parent / "spark"
    command = [str(word) for word in (python, ENGINES / "build.py", "spark", raw, place, *KEYS)]
    with (raw.parent / "killed.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 600
        while not (place / "intermediate.db/int_flights_joined" / f"partition_key={KEYS[1]}").exists():
            assert process.poll() is None, (raw.parent / "killed.log").read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return place


@pytest.fixture(scope="module")
def states(killed: Path) -> list[tuple[str, str]]:
    """What the ledger had of each partition when the build had been killed."""
    return recorded(killed)


@pytest.fixture(scope="module")
def spark(states: list[tuple[str, str]], killed: Path, raw: Path, environment: Environment) -> Path:
    """The same folder after the same command again."""
    run(environment("dbt_project/engines/requirements-spark.lock"), ENGINES / "build.py", "spark", raw, killed, *KEYS)
    return killed / "marts.db"


@pytest.fixture(scope="module")
def sail(raw: Path, environment: Environment) -> Path:
    run(environment("dbt_project/engines/requirements-sail.lock"), ENGINES / "build.py", "sail", raw, raw.parent / "sail", *KEYS)
    return raw.parent / "sail/spark-warehouse"


def recorded(place: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(place / "ops.db/ledger").sort_by("recorded_at").to_pylist()
    return [(row["partition_key"], row["state"]) for row in rows]


@pytest.mark.parametrize("mart", MARTS)
def test_every_row_of_spark_is_postgresql_s(spark: Path, mart: str) -> None:
    assert_postgresql_s(mart, ds.dataset(spark / mart, partitioning=PARTITIONED).to_table())


@pytest.mark.parametrize("mart", MARTS)
def test_every_row_of_sail_is_postgresql_s(sail: Path, mart: str) -> None:
    (folder,) = sail.glob(f"{mart}-*")
    assert_postgresql_s(mart, pq.read_table(folder))


def test_a_build_that_was_killed_leaves_its_partition_unpublished_and_the_same_command_completes_it(states: list[tuple[str, str]], spark: Path) -> None:
    first, second = KEYS
    assert states == [(first, "started"), (first, "published"), (second, "started")]
    assert recorded(spark.parent) == [*states, (second, "failed"), (second, "started"), (second, "published")]
