"""Snapshot folder → evidence, model, metrics: what was held back was not trained on, and the same rows give the same file."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flightdeck.metrics import scores
from flightdeck.settings import ROOT
from ml.dataset import load, matrix, split
from ml.evaluate import evaluate
from ml.features import FEATURES
from ml.train import train
from tests.ml.rows import table

KEYS = ["1999-01", "1999-02"]
ROWS = 2000


def workspace(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for key in KEYS:
        pq.write_table(table(key, ROWS), folder / "data" / f"{key}.parquet")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = workspace(tmp_path_factory.mktemp("trained") / "one")
    train(folder)
    return folder


@pytest.mark.parametrize("days", [1, 7])
def test_evidence_is_the_newest_partitions_last_days(days: int) -> None:
    # the older partition comes last: the newest is so by its key, not by its place
    rows = pa.concat_tables([table(KEYS[1], ROWS), table(KEYS[0], ROWS)])
    to_train, evidence = split(rows, days)
    assert {*evidence["day"].to_pylist()} == {date(1999, 2, 28 - number) for number in range(days)}
    assert {*evidence["partition_key"].to_pylist()} == {KEYS[1]}
    assert max(day for day in to_train["day"].to_pylist() if day.month == 2) == date(1999, 2, 28 - days)
    assert {*to_train["partition_key"].to_pylist()} == set(KEYS)


def test_no_evidence_row_is_trained_on_and_none_is_lost() -> None:
    rows = pa.concat_tables(table(key, ROWS) for key in KEYS)
    to_train, evidence = (part["entity_id"].to_pylist() for part in split(rows, 7))
    assert evidence
    assert not {*to_train} & {*evidence}
    assert sorted(to_train + evidence) == sorted(rows["entity_id"].to_pylist())


def test_the_model_does_not_depend_on_the_evidence(trained: Path, tmp_path: Path) -> None:
    other = workspace(tmp_path / "other")
    rows = load(other / "data")
    _, evidence = split(rows, 7)
    held = set(evidence["entity_id"].to_pylist())
    flipped = [1 - row["label"] if row["entity_id"] in held else row["label"] for row in rows.to_pylist()]
    rows = rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(flipped, pa.int8()))
    for path in (other / "data").glob("*.parquet"):
        path.unlink()
    pq.write_table(rows, other / "data" / "all.parquet")
    train(other)
    assert sha256(other / "model" / "model.lgb") == sha256(trained / "model" / "model.lgb")


def test_a_matrix_has_the_order_of_the_features_and_nan_for_null() -> None:
    rows = table(KEYS[0], 50)
    found = matrix(rows.select(sorted(rows.column_names)))
    assert found.shape == (50, len(FEATURES))
    assert np.isnan(found[:, FEATURES.index("temp")]).sum() == rows["temp"].null_count > 0
    assert found[:, FEATURES.index("distance")].tolist() == rows["distance"].to_pylist()


def test_training_twice_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    again = workspace(tmp_path / "two")
    train(again)
    assert (again / "model" / "model.lgb").read_bytes() == (trained / "model" / "model.lgb").read_bytes()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_does_not_change_the_model(trained: Path, tmp_path: Path, threads: str) -> None:
    folder = workspace(tmp_path / "threads")
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}
    subprocess.run([sys.executable, "-m", "ml.train"], cwd=folder, env=environment, check=True, capture_output=True)
    assert sha256(folder / "model" / "model.lgb") == sha256(trained / "model" / "model.lgb")


def test_another_seed_gives_another_model(trained: Path, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "seed")
    knobs = yaml.safe_load((folder / "params.yaml").read_text())
    knobs["train"]["lightgbm"]["parameters"]["seed"] += 1
    (folder / "params.yaml").write_text(yaml.safe_dump(knobs))
    train(folder)
    assert sha256(folder / "model" / "model.lgb") != sha256(trained / "model" / "model.lgb")


def test_metrics_are_of_the_evidence(trained: Path) -> None:
    evaluate(trained)
    found = json.loads((trained / "metrics.json").read_text())
    _, evidence = split(load(trained / "data"), 7)
    assert found["rows"] == len(evidence)
    assert found["base_rate"] == pytest.approx(np.mean(evidence["label"].to_pylist()))
    # the label can be learnt from the rows, so that the model must know more than the base rate does
    assert found["auc"] > 0.7


def test_one_sided_labels_have_a_log_loss_and_no_auc() -> None:
    found = scores(np.zeros(4, dtype=np.int8), np.full(4, 0.25))
    assert found == {"rows": 4, "base_rate": 0.0, "log_loss": pytest.approx(-np.log(0.75)), "auc": None, "calibration": 0.25}
