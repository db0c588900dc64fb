"""The catalog page: every data set and column with owner, class and origins, what each partition's checks found, and nothing from elsewhere."""

import re
from html.parser import HTMLParser

import psycopg

from flightdeck import ledger
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from governance import catalog
from governance.lineage import graph

KEY = "2014-05"


class Found(HTMLParser):
    """Ids, links and texts of a page; raises where a tag of ours is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        self.links |= {value for name in ("href", "src") if (value := found.get(name))}
        if tag in ("section", "details", "table"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("section", "details", "table"):
            assert self.open.pop() == tag


def test_everything_is_on_the_page_and_each_link_leads_somewhere(database: str) -> None:
    attempt = ledger.begin("ingest", KEY)
    attempt.facts = {
        "published_weather": 9, "published_flights": 5,
        "checked_landing_weather": {"failed": {"expect_column_values_to_be_between:wind_speed": 1}, "expectations": 16},
        "checked_landing_flights": {"failed": {}, "expectations": 19},
    }  # fmt: skip
    attempt.record("published")
    with connect() as connection:
        connection.execute("insert into quarantine.rows (source_table, partition_key, row, expectation) values ('weather', %s, '{}', 'x')", (KEY,))
    text = catalog.build().read_text()
    with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as own:
        own.execute("set session_replication_role = replica")
        own.execute("delete from quarantine.rows where partition_key = %s", (KEY,))
        own.execute("delete from ops.ledger where partition_key = %s", (KEY,))
    page = Found()
    page.feed(text)
    lineage = graph()
    shown = [each for each in lineage.datasets.values() if not each.name.endswith("_batch")]
    assert page.ids >= {each.name for each in shown} | {f"{each.name}.{column}" for each in shown for column in each.columns}
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.ids
    assert not [link for link in page.links if re.match(r"(https?:)?//", link)]
    for told in ("feature engineering", "model-owners@example.org", "marts.route_history.air_time_total", "contract version 1"):
        assert told in text
    assert f"{KEY}: 9 rows, 16 expectations, expect_column_values_to_be_between:wind_speed in 1; 1 rows in quarantine" in text
    assert f"{KEY}: 5 rows, 19 expectations, all held; 0 rows in quarantine" in text
