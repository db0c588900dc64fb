"""The setting that has another module read a source: what it names is what is asked, and what is none is one clear error."""

import pytest

from flightdeck.settings import Settings
from ingestion import load, operations, registry, stations
from ingestion.contract import SourceError


def _chosen(monkeypatch: pytest.MonkeyPatch, sources: dict[str, str]) -> None:
    monkeypatch.setattr(load, "settings", lambda: Settings(sources=sources))


def test_without_it_our_own_modules_read() -> None:
    assert load.modules("ingest") == {"operations": operations, "stations": stations, "registry": registry}


def test_the_module_that_it_names_reads_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    _chosen(monkeypatch, {"stations": "ingestion.timetable"})
    found = load.modules("ingest")
    assert (found["stations"].__name__, found["operations"]) == ("ingestion.timetable", operations)


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ({"stations": "ingestion.nowhere"}, "the setting `sources` names 'ingestion.nowhere' for stations, which cannot be imported: No module"),
        ({"stations": ""}, "the setting `sources` names '' for stations, which cannot be imported"),
        ({"stations": "ingestion.files"}, "the setting `sources` names 'ingestion.files' for stations, which has no resources and no changed"),
        ({"satellites": "ingestion.stations"}, "the setting `sources` names satellites, and there is no such source"),
    ],
)
def test_what_cannot_read_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, sources: dict[str, str], reason: str) -> None:
    _chosen(monkeypatch, sources)
    with pytest.raises(SourceError, match=reason):
        load.modules("ingest")
