"""DVC stage `snapshot@PARTITION`: a published partition → data/PARTITION.parquet."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from ml.dataset import read


def snapshot(workspace: Path, key: str) -> None:
    wanted = yaml.safe_load((workspace / "params.yaml").read_text())["snapshot"]["partitions"][key]
    (workspace / "data").mkdir(exist_ok=True)
    pq.write_table(read(key, wanted["as_of"]), workspace / "data" / f"{key}.parquet")


if __name__ == "__main__":
    snapshot(Path.cwd(), sys.argv[1])
