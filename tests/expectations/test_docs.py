"""Data Docs: readable without a network, complete, and no more work each time."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from expectations.batch import validate
from expectations.check import tables
from expectations.docs import build
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from tests.ingestion.months import ingested, move

KEY = "2042-02"


class Links(HTMLParser):
    """What a page fetches, what it links to, and whether anything in it runs."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.linked: list[str] = []
        self.runs: list[str] = []
        self.title, self._in_title = "", False
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.linked.append(named["href"])
        else:
            self.fetched += [named[name] for name in ("src", "href", "srcset", "data") if name in named]
        self.runs += [tag] if tag == "script" else [name for name in named if name.startswith("on")]
        self._in_title = tag == "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title, self._in_title = data, False


@pytest.fixture
def site(database: str) -> Path:
    """The pages after two checks of the same month, the second of which found a row that cannot be."""
    ingested("2013-02")
    with connect() as connection:
        move(connection, "weather", KEY)
        validate("landing", "weather", "weather_batch", KEY)
        build()
        connection.execute(f"update landing.weather set temp = 999 where partition_key = '{KEY}' and day = 3 and hour = 3")
        validate("landing", "weather", "weather_batch", KEY)
        connection.execute(f"delete from landing.weather where partition_key = '{KEY}'")
    build()
    return settings().reports / "data-docs"


def test_pages_need_no_network_and_no_script_and_their_links_lead_somewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        links = Links(page)
        assert links.fetched, page
        assert [each for each in links.fetched if not (page.parent / each).is_file()] == []
        # the reports' own start page is written by another
        ours = [each for each in links.linked if each != "../index.html"]
        assert ours
        assert [each for each in ours if not (page.parent / each).is_file()] == []
        assert links.runs == []
    styles = sorted(site.rglob("*.css"))
    assert len(styles) == 1
    assert "url(" not in styles[0].read_text()
    assert "@import" not in styles[0].read_text()


def test_titles_say_which_partition_and_suite(site: Path) -> None:
    titles = {Links(page).title for page in site.rglob("*.html")}
    assert {"Data Docs", f"{KEY} · landing.weather", "landing.weather: what is expected"} <= titles


def test_the_index_says_what_held_and_what_followed(site: Path) -> None:
    row = (site / "index.html").read_text().partition(f"<th>{KEY}</th>")[2].partition("</tr>")[0]
    assert '<a class="quarantine" href="validations/landing/weather/' in row
    assert ">15 of 16</a><small>quarantined: temp</small>" in row
    assert [table for table in tables("landing") if f"expectations/landing/{table}.html" not in (site / "index.html").read_text()] == []


def test_only_the_newest_result_of_a_suite_and_partition_is_kept(site: Path) -> None:
    results = settings().home / "expectations/validations"
    for folder, ending in ((results, "json"), (site / "validations", "html")):
        kept = sorted(folder.rglob(f"*.{ending}"))
        assert len(kept) >= 6
        assert len({path.parent.parent for path in kept}) == len(kept)
        assert sum(path.parent.parent.name == KEY for path in kept) == 1


def test_a_page_is_written_once(site: Path) -> None:
    def written() -> dict[Path, int]:
        return {page: page.stat().st_mtime_ns for page in (site / "validations").rglob("*.html")}

    before = written()
    build()
    assert written() == before != {}
