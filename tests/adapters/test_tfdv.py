"""TensorFlow Data Validation, for real, on a snapshot as DVC's store has it: it passes, and what is broken in it is named."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flightdeck.parameters import parameters
from flightdeck.settings import ROOT
from ml import pipeline
from ml.features import FEATURES
from tests.ml.conftest import Months

KEYS = ["1995-01", "1995-02"]
Validate = Callable[[Path], "tuple[int, dict[str, str]]"]


@pytest.fixture(scope="module")
def data(published_months: Months, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a snapshot that our pipeline has trained on."""
    with published_months(KEYS, 3000), pipeline.workspace("to-validate", pipeline.with_partitions(parameters(), KEYS[1])) as folder:
        pipeline.run(folder)
        yield shutil.copytree(folder / "data", tmp_path_factory.mktemp("snapshot") / "data")


@pytest.fixture(scope="module")
def validate(environment: Callable[[str], Path]) -> Validate:
    python = environment("expectations/adapters/requirements-tfdv.lock")

    def run(data: Path) -> tuple[int, dict[str, str]]:
        out = data.parent / "out"
        command = [python, ROOT / "expectations/adapters/on_tfdv.py", data, out]
        done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr[-3000:]
        assert {"schema.pbtxt", "statistics.pbtxt", "statistics-before.pbtxt", "anomalies.pbtxt"} <= {path.name for path in out.iterdir()}
        return done.returncode, json.loads((out / "anomalies.json").read_text())

    return run


def test_a_sound_snapshot_has_no_anomalies_and_a_schema_of_all_features(data: Path, validate: Validate) -> None:
    assert validate(data) == (0, {})
    schema = (data.parent / "out/schema.pbtxt").read_text()
    assert [name for name in [*FEATURES, "label"] if f'name: "{name}"' not in schema] == []


def _first(column: pa.ChunkedArray, value: float) -> pa.Array:
    return pa.array([value, *column.to_pylist()[1:]], type=column.type)


def test_what_is_broken_is_named(data: Path, validate: Validate, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "data")
    file = broken / f"{KEYS[1]}.parquet"
    rows = pq.read_table(file)
    # an impossible value, a feature that has moved, and one that is gone
    rows = rows.set_column(rows.column_names.index("wind_speed"), "wind_speed", _first(rows["wind_speed"], 1048.0))
    rows = rows.set_column(rows.column_names.index("temp"), "temp", pc.add(pc.divide(rows["temp"], 10.0), 60.0))
    pq.write_table(rows.drop_columns(["humid"]), file)
    code, found = validate(broken)
    assert code == 3
    assert set(found) == {"wind_speed", "temp", "humid"}
    assert "1048" in found["wind_speed"]
    assert "Jensen-Shannon" in found["temp"]
    assert "missing" in found["humid"]


def test_one_partition_alone_is_no_comparison(data: Path, environment: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(data / f"{KEYS[0]}.parquet", tmp_path / "data")
    python = environment("expectations/adapters/requirements-tfdv.lock")
    done = subprocess.run([python, ROOT / "expectations/adapters/on_tfdv.py", tmp_path / "data", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "those before it, and there is none" in done.stderr
