"""Each way in which a source was seen to fail or to lie: named, recorded, nothing half published, and right again after the repair."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

import ingestion.load as load_step
from flightdeck.partitions import partition
from flightdeck.settings import settings
from flightdeck.warehouse import Row, query
from ingestion import files, operations, registry, stations
from ingestion.contract import SourceError
from ingestion.load import load
from tests.ingestion.months import content, ingest, seen, tries

KEY = "2013-02"
Body = dict[str, Any]


@pytest.fixture
def unchanged(february: Row) -> Iterator[None]:
    """Whatever the source did, and after whatever repair: the month's content is what it was."""
    before = content(KEY)
    yield
    assert content(KEY) == before


def _failed(match: str) -> str:
    """Loading the month fails with this reason, which the ledger then holds, and readers have what they had; returns the reason."""
    attempts, before = tries(KEY), seen(KEY)
    with pytest.raises(SourceError, match=match) as raised:
        load(KEY)
    news = [(attempt - attempts[-1][0], state) for attempt, state, _ in tries(KEY)[len(attempts) :]]
    assert news == [(1, "started"), (1, "failed")]
    assert seen(KEY) == before
    assert tries(KEY)[-1][2]["error"] == f"SourceError: {raised.value}"[:2000]
    return str(raised.value)


# The weather stations: the true pages, with one fault


class Stations(ThreadingHTTPServer):
    """Sends on what the world's API answers, after `fault` has been at it."""

    daemon_threads = True
    fault: Callable[[int, Body], tuple[int, str]] = staticmethod(lambda page, body: (200, json.dumps(body)))


class Handler(BaseHTTPRequestHandler):
    server: Stations

    def do_GET(self) -> None:
        body = httpx.get(settings().url("world") + self.path).json()
        status, text = self.server.fault(body["page"], body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """The test's output is not the place."""


@pytest.fixture
def bad_stations(monkeypatch: pytest.MonkeyPatch, february: Row) -> Iterator[Stations]:
    with Stations(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = settings().model_copy(update={"port_world": server.server_address[1]})
        monkeypatch.setattr(stations, "settings", lambda: own)
        yield server
        server.shutdown()


@pytest.fixture
def only_stations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other sources would be landed first, with a second each; the tests of the repair land them all."""
    monkeypatch.setitem(load_step.STAGES, "ingest", {"stations": stations})


@pytest.fixture
def only_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(load_step.STAGES, "ingest", {"registry": registry})


def _in_rows(faults: list[dict[str, Any]]) -> Callable[[Body], Body]:
    """A fault in each of the last rows of a page; a value of ... is left out."""

    def change(body: Body) -> Body:
        sound, last = body["data"][: -len(faults)], body["data"][-len(faults) :]
        bad = [{name: value for name, value in (row | values).items() if value is not ...} for row, values in zip(last, faults, strict=True)]
        return body | {"data": [*sound, *bad]}

    return change


def _on_page(number: int, fault: Callable[[Body], Any], status: int = 200) -> Callable[[int, Body], tuple[int, str]]:
    def answer(page: int, body: Body) -> tuple[int, str]:
        if page != number:
            return 200, json.dumps(body)
        broken = fault(body)
        return status, broken if isinstance(broken, str) else json.dumps(broken)

    return answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_on_page(2, lambda _: "<html>maintenance</html>"), "stations, page 2 of 2013-02: .*Expecting value"),
        (_on_page(2, lambda body: json.dumps(body)[:-500]), "stations, page 2 of 2013-02: "),
        (_on_page(2, lambda _: {"error": "busy"}, 500), "stations, page 2 of 2013-02: .*500"),
        (_on_page(1, lambda _: [1, 2]), "stations, page 1 of 2013-02: not a page"),
        (_on_page(2, lambda body: {name: body[name] for name in ("page", "pages", "total")}), "stations, page 2 of 2013-02: not a page; expected data"),
        (_on_page(2, lambda body: body | {"page": 1}), "stations, page 2 of 2013-02: not a page; expected data, page 2"),
        (_on_page(2, lambda body: body | {"data": ["a row", *body["data"][1:]]}), "stations, page 2 of 2013-02: .*a row"),
        (_on_page(2, lambda body: body | {"data": [None, *body["data"][1:]]}), "stations, page 2 of 2013-02: .*None"),
        (_on_page(3, lambda body: body | {"total": 2011}), "stations sent 2010 rows for 2013-02 where it announced 2011"),
        (_on_page(2, lambda body: body | {"data": body["data"][:-1]}), "stations sent 2009 rows for 2013-02 where it announced 2010"),
    ],
)
def test_a_bad_page_is_named_and_stops_the_month(
    bad_stations: Stations, only_stations: None, fault: Callable[[int, Body], tuple[int, str]], reason: str
) -> None:
    bad_stations.fault = fault
    _failed(reason)


UNREADABLE = [
    ({"pressure": ...}, "pressure is not there"),
    ({"temp": "cold"}, "temp: 'cold' is not a number"),
    ({"temp": "31.5"}, "temp: '31.5' is not a number"),
    ({"temp": True}, "temp: True is not a number"),
    ({"hour": 5.5}, "hour: 'float' object cannot be interpreted as an integer"),
    ({"time_hour": "yesterday"}, "time_hour: Invalid isoformat string: 'yesterday'"),
    ({"time_hour": None}, "time_hour is missing"),
    ({"time_hour": "2013-02-15T05:00:00"}, "time_hour: 2013-02-15T05:00:00 has no zone"),
    ({"origin": "J\0K"}, "origin: has a NUL, which no table keeps"),
    ({"origin": "J\ud800K"}, "origin: 'utf-8' codec can't encode character"),
]


def test_rows_that_cannot_be_read_are_held_each_with_its_reason_and_the_others_flow_on(bad_stations: Stations, unchanged: None) -> None:
    bad_stations.fault = _on_page(2, _in_rows([values for values, _ in UNREADABLE]))
    facts = ingest(KEY)["facts"]
    bad = len(UNREADABLE)
    assert (facts["landed_weather"], facts["published_weather"], facts["quarantined_weather"]) == (2010, 2009 - bad, 1 + bad)
    held = query("select * from quarantine.rows where partition_key = %s and expectation like 'stations, page 2%%'", KEY)
    for _, reason in UNREADABLE:
        assert len([row for row in held if f"stations, page 2 of 2013-02: {reason}" in row["expectation"]]) == 1
    assert {(row["state"], row["entity_key"]) for row in held} == {("held", None)}
    assert min(row["row"]["day"] for row in held) > 0
    bad_stations.fault = Stations.fault
    ingest(KEY)


def test_many_rows_that_cannot_be_read_stop_the_month(bad_stations: Stations, only_stations: None) -> None:
    bad_stations.fault = lambda _, body: (200, json.dumps(body | {"data": [row | {"temp": f"{row['temp']} F"} for row in body["data"]]}))
    _failed("2010 of 2010 rows of weather cannot be read, the first: stations, page 1 of 2013-02: temp: '.* F' is not a number")


def test_an_error_of_the_server_is_asked_again(bad_stations: Stations, only_stations: None) -> None:
    asked: list[int] = []

    def every_other(page: int, body: Body) -> tuple[int, str]:
        asked.append(page)
        return (503, "") if len(asked) % 2 else (200, json.dumps(body))

    bad_stations.fault = every_other
    assert load(KEY)["facts"]["landed_weather"] == 2010
    assert asked == [1, 1, 2, 2, 3, 3]


def test_a_new_column_of_the_stations_is_ignored_and_named(bad_stations: Stations, unchanged: None) -> None:
    bad_stations.fault = lambda _, body: (200, json.dumps(body | {"data": [row | {"ozone": 3.1} for row in body["data"]]}))
    assert ingest(KEY)["facts"]["schema_changes"] == [f"stations, page {page} of 2013-02: column ozone new, ignored" for page in (1, 2, 3)]
    assert query("select count(*) as n from information_schema.columns where column_name = 'ozone'") == [{"n": 0}]


def test_a_lost_column_of_the_stations_is_filled_and_named_unless_it_is_required(bad_stations: Stations, unchanged: None) -> None:
    def without(name: str) -> Callable[[int, Body], tuple[int, str]]:
        return lambda _, body: (200, json.dumps(body | {"data": [{k: v for k, v in row.items() if k != name} for row in body["data"]]}))

    bad_stations.fault = without("visib")
    assert "stations, page 1 of 2013-02: column visib lost, filled with nothing" in ingest(KEY)["facts"]["schema_changes"]
    assert query("select count(visib) as n from raw.weather where partition_key = %s", KEY) == [{"n": 0}]
    bad_stations.fault = without("origin")
    _failed("stations, page 1 of 2013-02 has no column origin")
    bad_stations.fault = Stations.fault
    ingest(KEY)


def test_no_rows_are_no_month(bad_stations: Stations, only_stations: None) -> None:
    bad_stations.fault = lambda _, body: (200, json.dumps({"data": [], "page": 1, "pages": 1, "total": 0}))
    _failed("(stations|weather) has no rows for 2013-02")


def test_stations_that_are_away_are_named(monkeypatch: pytest.MonkeyPatch, only_stations: None, february: Row) -> None:
    monkeypatch.setattr(stations, "settings", lambda: settings().model_copy(update={"port_world": 1}))
    _failed("stations, page 1 of 2013-02: .*refused")


def test_after_the_stations_repair_the_month_completes(bad_stations: Stations, unchanged: None) -> None:
    bad_stations.fault = _on_page(2, lambda _: "", 503)
    _failed("503")
    bad_stations.fault = Stations.fault
    assert ingest(KEY)["facts"]["landed_weather"] == 2010


# The registries: a newer drop with one fault


@pytest.fixture
def drop(february: Row) -> Iterator[Path]:
    """A drop of 2013-02-01 like the year's first; the tests spoil it. The last file goes before the folder does."""
    first = settings().home / "world" / "files" / "2013-01-01"
    folder = first.with_name("2013-02-01")
    folder.mkdir()
    for path in first.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _cut(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:-1], lines[-1].rpartition(",")[0]])


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("planes", _cut, "registry, file planes.csv of 2013-02-01: cut off in its last line"),
        ("planes", lambda text: _cut(text) + "\n", "registry, file planes.csv of 2013-02-01: .*Expected 9 columns, got 8"),
        ("planes", lambda text: text.replace("seats", "chairs", 1), r"registry, file planes.csv of 2013-02-01 has no column seats \(renamed to chairs\?\)"),
        ("airports", lambda text: text.replace("faa,", "FAA,", 1), "registry, file airports.csv of 2013-02-01 has no column faa"),
        ("planes", lambda text: text.replace(",55,", ",many,"), "[0-9]+ of 3322 rows of planes cannot be read, the first: .*seats: .*many"),
        ("airlines", lambda text: text.splitlines()[0] + "\n", "airlines has no rows for 2013-02"),
        ("airlines", lambda _: "", "registry, file airlines.csv of 2013-02-01: empty"),
        ("airlines", None, "registry, file airlines.csv of 2013-02-01: .*No such file"),
    ],
)
def test_a_bad_file_is_named_and_stops_the_month(drop: Path, only_registry: None, name: str, spoil: Callable[[str], str] | None, reason: str) -> None:
    path = drop / f"{name}.csv"
    if spoil:
        text = path.read_text()
        assert spoil(text) != text
        path.write_text(spoil(text))
    else:
        path.unlink()
    _failed(reason)


def test_after_the_file_s_repair_the_month_completes(drop: Path, unchanged: None) -> None:
    path = drop / "airports.csv"
    text = path.read_text()
    path.write_text(text.replace("lat,", "", 1))
    _failed("registry, file airports.csv of 2013-02-01")
    path.write_text(text)
    assert ingest(KEY)["facts"]["landed_airports"] == 1458


def test_a_new_column_of_a_registry_s_file_is_taken_over_and_named(drop: Path) -> None:
    path = drop / "airlines.csv"
    text = path.read_text()
    path.write_text("\n".join(line + (",alliance" if number == 0 else f",{number}") for number, line in enumerate(text.splitlines())) + "\n")
    assert ingest(KEY)["facts"]["schema_changes"] == ["registry, file airlines.csv of 2013-02-01: column alliance new, taken over"]
    newest = query("select count(alliance) as n from landing.airlines where partition_key = %s", KEY)
    assert newest == [{"n": 16}]
    assert query("select data_type from information_schema.columns where table_schema = 'raw' and column_name = 'alliance'") == [{"data_type": "bigint"}]
    path.write_text(text)
    assert "schema_changes" not in ingest(KEY)["facts"]


def test_lines_that_cannot_be_read_are_held_and_the_others_flow_on(drop: Path, unchanged: None) -> None:
    path = drop / "planes.csv"
    content = path.read_bytes()
    spoiled = content.replace(b"\nN10156,", b"\nN1\xff\xfe,", 1).replace(b"\nN102UW,", b"\nN1\x00,", 1).replace(b"\nN103US,1999,", b"\nN103US,twenty,", 1)
    assert len(set(spoiled.split(b"\n")) - set(content.split(b"\n"))) == 3
    path.write_bytes(spoiled)
    facts = ingest(KEY)["facts"]
    assert (facts["landed_planes"], facts.get("published_planes", 3319), facts.get("quarantined_planes", 3)) == (3322, 3319, 3)
    path.write_bytes(content)
    ingest(KEY)


def test_without_a_drop_the_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only_registry: None, february: Row) -> None:
    monkeypatch.setattr(files, "settings", lambda: settings().model_copy(update={"home": tmp_path}))
    assert str(tmp_path) in _failed("registry has no drop at or before 201[34]-[0-9-]+ in ")


def test_the_newest_drop_at_the_month_s_closing_is_read(tmp_path: Path) -> None:
    for name in ("2013-01-01", "2013-02-15", "2013-03-03", "2013-03-04", ".2013-03-02", "notes"):
        (tmp_path / name).mkdir()
    assert registry.newest_drop(tmp_path, partition("2013-01").closes).name == "2013-01-01"
    assert registry.newest_drop(tmp_path, partition("2013-02").closes).name == "2013-03-03"
    assert registry.newest_drop(tmp_path, partition("2013-12").closes).name == "2013-03-04"


# The operations database: its owner changes it


@pytest.fixture
def owner(february: Row) -> Iterator[Callable[[str], None]]:
    """Statements by the operations database's owner."""
    with psycopg.connect(settings().database_url("world"), autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.encode()) and None


def test_a_changed_table_is_named_and_after_its_repair_the_month_completes(owner: Callable[[str], None], unchanged: None) -> None:
    owner("alter table flights rename tailnum to tail")
    _failed(r"operations\.flights has no column tailnum")
    owner("alter table flights rename tail to tailnum")
    owner("alter table flights add gate text")
    _failed(r"operations\.flights has the new column gate")
    owner("alter table flights drop gate")
    assert ingest(KEY)["facts"]["landed_flights"] == 24_951


def test_a_changed_type_is_named(owner: Callable[[str], None]) -> None:
    owner("alter table flights rename to flights_as_they_were")
    owner("create table flights (like flights_as_they_were)")
    owner("alter table flights alter distance type text")
    owner("insert into flights select * from flights_as_they_were where month = 2")
    owner("grant select on flights to source_reader")
    _failed(r"operations\.flights has column distance as text instead of integer")
    owner("drop table flights")
    owner("alter table flights_as_they_were rename to flights")


def test_a_table_that_is_gone_is_named(owner: Callable[[str], None]) -> None:
    owner("alter table flights rename to flights_elsewhere")
    _failed("operations, table flights: ")
    owner("alter table flights_elsewhere rename to flights")


def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch, february: Row) -> None:
    monkeypatch.setattr(operations, "settings", lambda: settings().model_copy(update={"port_postgres": 1}))
    assert "password" not in _failed("operations, table flights: .*refused")
