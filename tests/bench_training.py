"""A challenger of the same three real months by each tool: one table of what came out, as Markdown; in docs/adapters.md.

python -m tests.bench_training            all of it, on a stack of its own
python -m tests.bench_training rows       in the stack's environment: the rows alone, as JSON (what the whole runs)
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from flightdeck.settings import settings
from tests.adapters.environments import python
from tests.bench import FLIGHTDECK, fresh, measured

KEYS = ["2013-01", "2013-02", "2013-03"]
TOOLS = ["metaflow", "kubeflow"]
HEAD = ["trained by", "rows of evidence", "log loss", "AUC", "snapshot (md5)", "model file (sha256)", "seconds"]


def rows() -> Iterator[list[str]]:
    """Of each way to train the last month's challenger: who, what came out, and how long it took."""
    from flightdeck import ledger
    from ml.adapters import stage
    from tests.bench_loop import month

    ledger.plan(KEYS)
    for key in KEYS:
        month(key)
    ours = ledger.newest()[KEYS[-1]]["train"]
    yield row("ours", ours["outputs"]["release"], ours["seconds"])
    for number, tool in enumerate(TOOLS, 101):
        os.environ["FLIGHTDECK_ADAPTER_PYTHON"] = str(python(f"ml/adapters/requirements-{tool}.lock"))
        settings.cache_clear()
        begun = time.perf_counter()
        stage.run(f"on_{tool}", KEYS[-1], str(number))
        yield row(tool, stage.trained(KEYS[-1], str(number)), time.perf_counter() - begun)


def row(tool: str, release: dict[str, Any], seconds: float) -> list[str]:
    metrics = release["metrics"]
    figures = [f"{metrics[name]:.4f}" for name in ("log_loss", "auc")]
    return [tool, f"{metrics['rows']:,}", *figures, release["snapshot_md5"][:12], release["sha256"][:12], f"{seconds:.0f}"]


def main(arguments: list[str]) -> None:
    if arguments == ["rows"]:
        told, sys.stdout = sys.stdout, sys.stderr
        told.write(json.dumps(list(rows())))
        told.flush()
        # without waiting for what the tools have left running
        os._exit(0)
    if arguments:
        sys.exit(__doc__)
    with fresh() as home:
        subprocess.run([*FLIGHTDECK, "up"], check=True, stdout=sys.stderr)
        found = measured(home, "tests.bench_training", "rows")
    for cells in (HEAD, ["---"] * len(HEAD), *found):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main(sys.argv[1:])
