"""A source that names people: only pseudonyms land, the same for the same name, and a search by the name finds them."""

import psycopg
import pytest

from flightdeck import subjects
from flightdeck.contracts import Column, contracts
from flightdeck.warehouse import query
from governance.erasure import find
from ingestion import names
from ingestion.contract import Rejected
from ingestion.load import load
from tests.ingestion.months import ingested

KEY = "2013-09"


@pytest.fixture
def named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's makers, as if they were people; and the month as it is without that, for whoever reads it after this."""
    ingested(KEY)
    monkeypatch.setitem(contracts()["planes"].columns, "manufacturer", Column(type="text", subject=True))


def makers() -> dict[str, int]:
    rows = query("select manufacturer, count(*) as n from landing.planes where partition_key = %s and manufacturer is not null group by 1", KEY)
    return {row["manufacturer"]: row["n"] for row in rows}


def test_only_pseudonyms_land_and_each_name_has_one(named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = makers()
    load(KEY)
    after = makers()
    assert sorted(after.values()) == sorted(before.values()), "each name is one pseudonym, and nothing without a name got one"
    assert {name[:2] for name in after} == {"s-"}
    assert not set(after) & set(before)
    assert after[subjects.known("boeing") or ""] == before["BOEING"]
    assert "landing.planes.manufacturer in" in " ".join(find("Boeing", [])["database warehouse"])
    monkeypatch.undo()
    load(KEY)
    assert makers() == before


def test_without_the_vault_nothing_lands(named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> None:
        raise psycopg.OperationalError("refused")

    before = makers()
    monkeypatch.setattr(subjects, "vault", refused)
    with pytest.raises(Exception, match="refused"):
        load(KEY)
    assert makers() == before


def test_what_cannot_be_read_is_kept_without_the_name(named: None) -> None:
    row = names.nameless_row(Rejected("planes", {"tailnum": "N1", "manufacturer": "Ada Example"}, "file, line 3: manufacturer: 'Ada Example' is too long"))
    assert row.row == {"tailnum": "N1", "manufacturer": subjects.known("ada example")}
    assert row.reason == f"file, line 3: manufacturer: '{subjects.known('ada example')}' is too long"
