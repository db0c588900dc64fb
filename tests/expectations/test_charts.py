"""The page of control charts: complete, self-contained, of bounded size, and nothing in it comes from the data unescaped."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from expectations import charts
from expectations.charts import Chart, build
from expectations.control import Judged
from expectations.profile import Profile, keep
from flightdeck.ledger import Attempt
from flightdeck.settings import settings
from flightdeck.warehouse import connect

EVIL = "<script>alert('x')</script>&\""


class Nesting(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "circle", "path", "polygon", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in ("li", "p") and tag not in ("li", "p"):
            self.open.pop()
        if tag != "circle":
            assert self.open.pop() == tag


@pytest.fixture
def page(year: dict[str, Attempt]) -> Iterator[Path]:
    """Built from the real year, and a small table with a name and values that a page must not take for its own."""
    with connect() as connection:
        for number in range(1, 8):
            keep(connection, f"a.{EVIL}", f"2013-0{number}", Profile({"rows": float(number), f"share:x={EVIL}": 0.9 if number == 7 else 0.1}))
        yield build()
        connection.execute("delete from ops.profiles where source_table like 'a.%%'")


def test_the_page_has_each_table_with_its_flags_and_charts(page: Path) -> None:
    text = page.read_text()
    assert page == settings().reports / "quality" / "index.html"
    for table in ("year.flights", "year.weather", "year.labels"):
        assert f'<h2 id="{table}">' in text
    assert "<li>year.weather 2013-02: max:wind_speed on 2013-02-12 is 1,048, usual" in text
    assert re.search(r'class="unusual"><title>2013-02-12: 1,048, usual [-\d.]+ to [\d.]+</title>', text)
    assert re.search(r'class="unusual"><title>2013-12: 0\.3618, usual [-\d.]+ to [\d.]+</title>', text)
    assert text.count("<svg") > 100
    assert "no limits yet" in text


def test_the_newest_flags_come_first(page: Path) -> None:
    keys = re.findall(r"<li>\S+ (2013-\d\d): ", page.read_text())
    assert len(keys) > 30
    assert keys == sorted(keys, reverse=True)


def test_the_flags_of_the_page_are_those_of_the_ledger(page: Path, year: dict[str, Attempt]) -> None:
    listed = re.findall(r"<li>(year\..*?)</li>", page.read_text())
    recorded = [flag for attempt in year.values() for flag in attempt.facts.get("unusual", [])]
    assert len(recorded) > 40
    assert sorted(listed) == sorted(recorded)


def test_the_page_needs_nothing_from_elsewhere_and_is_small(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"<script|<link|<img|<iframe|https?:|@import|url\(|\son\w+=", text) == []
    assert len(text.encode()) < 3_000_000


def test_nothing_of_the_data_becomes_markup(page: Path) -> None:
    text = page.read_text()
    assert "&lt;script&gt;alert(" in text
    nesting = Nesting()
    nesting.feed(text)
    assert "script" not in nesting.seen
    assert nesting.open == []
    assert nesting.seen.count("svg") == text.count("<svg")


def test_wide_tables_are_cut_and_say_so(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "CHARTS", 3)
    monkeypatch.setattr(charts, "FLAGS", 2)
    text = build().read_text()
    assert 0 < text.count("<svg") <= 3 * text.count("<h2")
    assert re.search(r"\d+ more are in ops\.profiles and not drawn", text)
    assert re.search(r"and \d+ earlier ones", text)


def test_a_page_is_replaced_whole(page: Path) -> None:
    page.write_text("old")
    build()
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]
    assert "<h1>Control charts</h1>" in page.read_text()


def test_without_profiles_the_page_says_that_nothing_was_unusual(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "query", lambda sql: [])
    assert "Nothing was unusual." in build().read_text()


def test_a_mark_far_out_stands_at_the_edge_with_its_value() -> None:
    chart = Chart([Judged("m", "2013-01", None, value, 0.0, 10.0) for value in (4.0, 6.0, 1e6)])
    assert chart.high < 20
    assert chart.y(1e6) == charts.TOP
    assert re.search(r">1,000,000</text>", chart.svg())


@pytest.mark.parametrize("values", [[5.0], [0.0], [3.0, 3.0], [-1e100, 1e100]])
def test_any_values_can_be_drawn(values: list[float]) -> None:
    drawn = Chart([Judged("m", f"2013-0{number}", None, value) for number, value in enumerate(values, 1)]).svg()
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert drawn.count("<circle") == len(values)
