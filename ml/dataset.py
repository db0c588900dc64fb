"""Labelled rows: read from the warehouse, kept as Parquet, split into what a model may train on and what judges it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from flightdeck.warehouse import table
from ml.features import FEATURES
from ml.learners import Matrix, Model, learner

ORDER = ["entity_id", "partition_key", "history_key", "day", *FEATURES, "label"]
TEXTS = {name: pa.string() for name in ("entity_id", "partition_key", "history_key")}
TYPES = TEXTS | {name: pa.float64() for name in FEATURES} | {"label": pa.int8(), "day": pa.date32()}


def read(key: str, as_of: str) -> pa.Table:
    """The partition's features with the labels that were known at `as_of` (ISO 8601), ordered by entity_id."""
    columns = ", ".join(f"f.{name}" for name in ["entity_id", "partition_key", "history_key"]) + ", l.day, "
    columns += ", ".join(f"f.{name}" for name in FEATURES) + ", l.label::int as label"
    found = table(
        f"select {columns} from marts.features f join marts.labels l using (entity_id, partition_key)"
        ' where f.partition_key = %s and l.known_at <= %s order by f.entity_id collate "C"',
        key, as_of, types=TYPES,
    )  # fmt: skip
    return found.select(ORDER)


def load(folder: Path) -> pa.Table:
    """All partitions of a snapshot folder, in key order."""
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def split(table: pa.Table, holdout_days: int) -> tuple[pa.Table, pa.Table]:
    """(rows to train on, evidence): the evidence is the newest partition's last days, and no model may have seen it."""
    newest = pc.max(table["partition_key"])
    last = pc.max(table.filter(pc.equal(table["partition_key"], newest))["day"]).as_py()
    held = pc.and_(pc.equal(table["partition_key"], newest), pc.greater(table["day"], pa.scalar(last - timedelta(days=holdout_days))))
    return table.filter(pc.invert(held)), table.filter(held)


def judged(workspace: Path) -> tuple[dict[str, Any], Model, Matrix, Any]:
    """What a workspace's training is judged by: (its parameters, its model, the evidence's rows, and their labels)."""
    knobs = yaml.safe_load((workspace / "params.yaml").read_text())
    _, evidence = split(load(workspace / "data"), knobs["snapshot"]["holdout_days"])
    kind = learner(knobs["train"]["learner"])
    return knobs, kind.load((workspace / "model" / kind.FILE).read_text()), matrix(evidence), evidence["label"].to_numpy()


def matrix(table: pa.Table) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """(rows, features), in the order of FEATURES, NaN where a value is missing."""
    return np.column_stack([table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in FEATURES])
