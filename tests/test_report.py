"""The report of a pull request, on two small lakes."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.report import built, differences, marts, metrics


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[str, str]:
    """Of 100 rows two have another value, one is gone, and one column is new; a mart is gone, another new."""
    for side, query in {
        "base": "select n as entity_id, n / 2 as value from range(100) t(n)",
        "head": "select n as entity_id, n / 2 + (n < 2)::int as value, 1 as extra from range(99) t(n)",
    }.items():
        for mart in ("features", "old" if side == "base" else "new"):
            folder = tmp_path / side / mart / "partition_key=2013-01"
            folder.mkdir(parents=True)
            duckdb.sql(query).write_parquet(str(folder / "data.parquet"))
    return str(tmp_path / "base"), str(tmp_path / "head")


def test_differences_are_counted_by_row_and_column(lakes: tuple[str, str]) -> None:
    assert marts(*lakes) == ["| features | 99 | 3 | 2 | +extra |", "| new | new | | | |", "| old | gone | | | |"]
    assert marts(lakes[0], lakes[0])[0] == "| features | 100 | 0 | 0 |  |"


def test_changed_models_are_named_with_what_became_of_them() -> None:
    base, head = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    assert differences(base, head) == ["- `b`: changed", "- `c`: gone", "- `d`: new"]
    assert differences(base, base) == ["none"]


def test_what_was_built_is_named() -> None:
    nothing: dict[str, Any] = {"stages": {"2013-01": {"plan": {"rows": {}}, "transform": None}}}
    assert built(nothing) == "built anew, by dbt's state: nothing"
    assert built({"stages": {"2013-01": {"plan": {"rows": {"b": 1}}, "transform": {"rows": {"a": 2}}}}}) == "built anew, by dbt's state: `a`, `b`"


def test_metrics_are_compared_and_another_verdict_is_marked() -> None:
    def side(loss: float, decision: str) -> dict[str, Any]:
        return {"stages": {"2013-02": {"gate": {"challenger": {"log_loss": loss, "auc": None}, "decision": decision}}}}

    assert metrics(side(0.5, "promoted"), side(0.45, "refused")) == [
        "| 2013-02 | log_loss | 0.50000 | 0.45000 | -0.05000 |",
        "| 2013-02 | verdict | promoted | refused | **different** |",
    ]
