"""A snapshot looked at by TensorFlow Data Validation: `python expectations/adapters/on_tfdv.py DATA OUT`, in its own environment.

DATA has a snapshot's files, PARTITION.parquet. The schema is that of all partitions but the newest, which is held against it. OUT gets TFX's own
files (schema, both statistics, anomalies, as text) and anomalies.json: {column: why}. Exit code 3: there are anomalies.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

ANOMALIES = 3
# by how much of its own width the range of what was seen may be left
BEYOND = 0.5
# Jensen-Shannon divergence between the newest partition and those before it
MOST_DRIFT = 0.3


def read(paths):
    """The columns that are numbers; keys and days are new in each partition."""
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True).select_dtypes("number")


def expected(seen, statistics):
    """The schema of what was seen, with ranges and drift, which TFDV does not infer."""
    schema = tfdv.infer_schema(statistics)
    for feature in schema.feature:
        low, high = float(seen[feature.name].min()), float(seen[feature.name].max())
        beyond = BEYOND * (high - low)
        kind, whole = (schema_pb2.IntDomain, int) if feature.type == schema_pb2.INT else (schema_pb2.FloatDomain, float)
        if low == low:
            tfdv.set_domain(schema, feature.name, kind(min=whole(low - beyond), max=whole(high + beyond)))
        feature.drift_comparator.jensen_shannon_divergence.threshold = MOST_DRIFT
    return schema


def validate(data, out):
    """Returns {column: why}; raises ValueError where there are no two partitions."""
    *before, newest = sorted(data.glob("*.parquet"))
    if not before:
        raise ValueError(f"{data}: one partition is held against those before it, and there is none")
    options = tfdv.StatsOptions(num_top_values=20)
    seen = read(before)
    known, now = (tfdv.generate_statistics_from_dataframe(rows, options, n_jobs=1) for rows in (seen, read([newest])))
    schema = expected(seen, known)
    found = tfdv.validate_statistics(now, schema, previous_statistics=known)
    out.mkdir(parents=True, exist_ok=True)
    tfdv.write_schema_text(schema, str(out / "schema.pbtxt"))
    tfdv.write_stats_text(known, str(out / "statistics-before.pbtxt"))
    tfdv.write_stats_text(now, str(out / "statistics.pbtxt"))
    tfdv.write_anomalies_text(found, str(out / "anomalies.pbtxt"))
    told = {name: each.description for name, each in found.anomaly_info.items()}
    (out / "anomalies.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    sys.exit(ANOMALIES if validate(asked.data, asked.out) else 0)
