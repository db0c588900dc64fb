"""The page of the year: what retraining was worth is told with the months where it lost, and nothing of it comes from elsewhere."""

import re
from typing import Any

import pytest

from flightdeck import ledger
from flightdeck.settings import settings
from monitoring import year
from monitoring.year import Month, build, months, sentence, worth

KEYS = ["2096-01", "2096-02", "2096-03"]


def month(served: float | None, frozen: float | None, auc: float = 0.7) -> Month:
    monitor: dict[str, Any] = {"log_loss": served, "auc": None if served is None else auc, "frozen": None}
    if frozen is not None:
        monitor["frozen"] = {"log_loss": frozen, "auc": 0.6}
    return {"monitor": monitor, "estimate": {}, "decide": {}, "gate": {}, "deploy": {}}


def test_worth_is_the_mean_of_months_that_both_have_answered() -> None:
    found = {"2013-03": month(0.6, None), "2013-04": month(0.5, 0.52), "2013-05": month(0.54, 0.53), "2013-06": month(None, 0.9)}
    value = worth(found)
    assert value is not None
    assert value == {
        "months": 2, "served_log_loss": pytest.approx(0.52), "frozen_log_loss": pytest.approx(0.525),
        "served_auc": pytest.approx(0.7), "frozen_auc": pytest.approx(0.6), "lost": ["2013-05"],
    }  # fmt: skip
    assert sentence(value).endswith("without, 0.5250 and 0.600; the frozen one was better in 2013-05.")


def test_without_a_month_to_compare_nothing_is_claimed() -> None:
    assert worth({"2013-01": month(0.5, None), "2013-02": month(None, 0.4)}) is None
    assert sentence(None) == "No month has both been answered and compared with a frozen model yet."


@pytest.fixture
def recorded(database: str) -> None:
    for number, key in enumerate(KEYS):
        monitor = month(0.5 + number / 100, 0.52)["monitor"] | {
            "base_rate": 0.25, "calibration": 0.01, "drift_share": 0.4, "label_coverage": 1.0, "label_coverage_at_end": 0.97,
            "segments": {"origin/JFK": {"log_loss": 0.5}},
        }  # fmt: skip
        ledger.Attempt("monitor", key, 1, facts=monitor).record("done")
        ledger.Attempt("gate", key, 1, facts={"decision": "refused", "reasons": ["<script>alert(1)</script>"], "challenger": None}).record("done")


def test_the_page_has_each_month_with_its_reasons_and_needs_nothing_from_elsewhere(recorded: None) -> None:
    assert set(KEYS) <= set(months())
    build()
    text = (settings().reports / "year" / "index.html").read_text()
    assert all(f"<td>{key}</td>" in text for key in KEYS)
    assert text.count("<svg") == text.count("<figure>") == 7
    assert "&lt;script&gt;alert(1)" in text
    assert re.findall(r"<script|<img|<iframe|@import|url\((?!#)|<\?xml", text) == []
    assert not re.findall(r'(?:src|href)="https?:', text)
    assert 'href="year/index.html"' in (settings().reports / "index.html").read_text()
    assert [path.name for path in (settings().reports / "year").iterdir()] == ["index.html"]


def test_the_same_ledger_gives_the_same_page(recorded: None) -> None:
    build()
    first = (settings().reports / "year" / "index.html").read_bytes()
    build()
    assert (settings().reports / "year" / "index.html").read_bytes() == first


def test_a_ledger_without_a_measured_month_gives_a_page_that_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(year, "months", dict)
    build()
    assert "No month has both been answered" in (settings().reports / "year" / "index.html").read_text()
