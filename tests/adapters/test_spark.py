"""Two real months by the same dbt models on Spark, in a session and by Spark Connect, and on Sail: every mart is PostgreSQL's, row for row."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import ROOT
from tests.adapters.engines import ENGINES, KEYS, MARTS, assert_postgresql_s, exported, run
from tests.sandbox import free_ports

Environment = Callable[[str], Path]
LOCK = "dbt_project/engines/requirements-spark.lock"
PARTITIONED = ds.partitioning(pa.schema([("partition_key", pa.string())]), flavor="hive")


@pytest.fixture(scope="module")
def raw(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("java") is None:
        pytest.fail("Spark needs Java 17 or later on the PATH; on Debian and Ubuntu: apt install openjdk-17-jre-headless")
    return exported(tmp_path_factory.mktemp("spark") / "raw")


class Running:
    """A command in the background, in a session of its own, which writes to a log; what is left of it at the end is killed, with all below it."""

    def __init__(self, log: Path, *command: object, **environment: str) -> None:
        self.log = log
        with log.open("w") as out:
            words = [str(word) for word in command]
            self.process = subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, start_new_session=True, env=os.environ | environment)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for it, while the command runs."""
        end = time.monotonic() + 600
        while not holds():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.05)


def in_the_second_month(place: Path) -> bool:
    return (place / "intermediate.db/int_flights_joined" / f"partition_key={KEYS[1]}").exists()


@pytest.fixture(scope="module")
def killed(raw: Path, environment: Environment) -> Path:
    """Spark's folder after a build that was killed in the second month, with all of its processes."""
    place = raw.parent / "spark"
    with Running(raw.parent / "killed.log", environment(LOCK), ENGINES / "build.py", "spark", raw, place, *KEYS) as build:
        build.until(lambda: in_the_second_month(place))
    return place


@pytest.fixture(scope="module")
def states(killed: Path) -> list[tuple[str, str]]:
    """What the ledger had of each partition when the build had been killed."""
    return recorded(killed)


@pytest.fixture(scope="module")
def spark(states: list[tuple[str, str]], killed: Path, raw: Path, environment: Environment) -> Path:
    """The same folder after the same command again."""
    run(environment(LOCK), ENGINES / "build.py", "spark", raw, killed, *KEYS)
    return killed / "marts.db"


@pytest.fixture(scope="module")
def remote(raw: Path, environment: Environment) -> Path:
    """The folder of Spark's own Connect server, which has two executors; one is killed in the second month."""
    python, place, port, log = environment(LOCK), raw.parent / "remote", next(free_ports()), raw.parent / "server.log"
    (home,) = python.parent.parent.glob("lib/python*/site-packages/pyspark")
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.host": "127.0.0.1",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": place,
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={place}",
        "spark.ui.enabled": "false",
    }
    options = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    command = [home / "bin/spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local-cluster[2,1,1024]"]
    with Running(log, *command, *options, "spark-internal", SPARK_HOME=str(home), SPARK_LOCAL_IP="127.0.0.1") as server:
        server.until(lambda: answers(port))
        with Running(raw.parent / "remote.log", python, ENGINES / "build.py", "connect", raw, place, *KEYS, SPARK_REMOTE=f"sc://127.0.0.1:{port}") as build:
            build.until(lambda: in_the_second_month(place))
            executor(server).kill()
            assert build.process.wait(600) == 0, build.log.read_text()[-3000:]
    # what its executors wrote about themselves
    shutil.rmtree(home / "work")
    assert "Lost executor" in log.read_text()
    return place


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def executor(server: Running) -> psutil.Process:
    """One of the server's; what else is below it comes and goes."""
    for each in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "org.apache.spark.executor.CoarseGrainedExecutorBackend" in each.cmdline():
                return each
    raise AssertionError(server.log.read_text()[-3000:])


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
def test_every_row_by_spark_connect_is_postgresql_s_though_an_executor_was_lost(remote: Path, mart: str) -> None:
    assert_postgresql_s(mart, ds.dataset(remote / "marts.db" / mart, partitioning=PARTITIONED).to_table())


@pytest.mark.parametrize("mart", MARTS)
def test_every_row_of_sail_is_postgresql_s(sail: Path, mart: str) -> None:
    (folder,) = sail.glob(f"{mart}-*")
    assert_postgresql_s(mart, pq.read_table(folder))


def test_a_build_that_was_killed_leaves_its_partition_unpublished_and_the_same_command_completes_it(states: list[tuple[str, str]], spark: Path) -> None:
    first, second = KEYS
    assert states == [(first, "started"), (first, "published"), (second, "started")]
    assert recorded(spark.parent) == [*states, (second, "failed"), (second, "started"), (second, "published")]


def test_a_lost_executor_s_work_is_done_again_by_the_rest(remote: Path) -> None:
    assert recorded(remote) == [(key, state) for key in KEYS for state in ("started", "published")]
