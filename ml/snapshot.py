"""DVC stage `snapshot`: published partitions → data/, one Parquet file a partition."""

from pathlib import Path

import pyarrow.parquet as pq
import yaml

from ml.dataset import read


def snapshot(workspace: Path) -> None:
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())["snapshot"]
    (workspace / "data").mkdir()
    for key in sorted(parameters["partitions"]):
        pq.write_table(read(key, parameters["as_of"]), workspace / "data" / f"{key}.parquet")


if __name__ == "__main__":
    snapshot(Path.cwd())
