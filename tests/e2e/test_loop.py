"""Two real months through the running stack, as `make demo` sends them."""

import subprocess
import sys

import pytest

from flightdeck.warehouse import query

KEYS = ["2013-01", "2013-02"]


@pytest.fixture(scope="module")
def output(platform: None) -> str:
    """What the command prints."""
    done = subprocess.run([sys.executable, "-m", "flightdeck.cli", "replay", "--skip-published", *KEYS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_table_has_a_row_a_month(output: str) -> None:
    assert "27,004" in output
    assert "24,951" in output
    assert output.count("promoted") == 2


def test_each_stage_ended_once(output: str) -> None:
    rows = query("select partition_key, stage, count(*) as n from ops.ledger where state in ('done', 'published') group by 1, 2")
    stages = {"requests", "ingest", "transform", "monitor", "decide", "train", "gate", "deploy"}
    assert {(row["partition_key"], row["stage"]) for row in rows} == {(key, stage) for key in KEYS for stage in stages}
    assert {row["n"] for row in rows} == {1}
