"""Faults of the stations' API: what the running API answers with each, that nothing else changes, and that `heal` ends it."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from flightdeck.settings import settings
from tests.world.conftest import Command
from world.faults import closes, late

KEY = "2013-02"
CLOSED = closes(KEY)
LATER = late(KEY) + timedelta(days=5)
Row = dict[str, Any]


def _get(path: str = "/weather", **parameters: Any) -> httpx.Response:
    asked = {"month": KEY, "as_of": CLOSED.isoformat()} | parameters
    return httpx.get(settings().url("world") + path, params=asked, timeout=30)


def _page(number: int, **parameters: Any) -> dict[str, Any]:
    answer = _get(page=number, **parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _rows(as_of: datetime = CLOSED, month: str = KEY) -> list[Row]:
    body = _page(1, as_of=as_of.isoformat(), month=month, limit=10_000)
    assert body["total"] == len(body["data"])
    return list(body["data"])


def _changes(after: datetime, as_of: datetime) -> int:
    answer = _get("/weather/changes", after=after.isoformat(), as_of=as_of.isoformat())
    assert answer.status_code == 200, answer.text
    return int(answer.json()["rows"])


def _key(row: Row) -> tuple[str, str]:
    return row["time_hour"], row["origin"]


def _frozen(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row) for row in rows)


@pytest.fixture(scope="module")
def original(database: str) -> tuple[list[Row], list[Row]]:
    """February's and March's rows without faults."""
    return _rows(), _rows(closes("2013-03"), "2013-03")


@pytest.fixture
def february(original: tuple[list[Row], list[Row]]) -> list[Row]:
    return original[0]


@pytest.fixture
def inject(world: Command, original: tuple[list[Row], list[Row]]) -> Iterator[Command]:
    """Injects into the API; no other month ever changes, and after the test February is what it was."""
    assert len(original[0]) == 2010
    yield lambda *arguments: world("inject", *arguments, "--source", "api")
    assert (settings().home / "world" / "faults.json").exists()
    assert _rows(closes("2013-03"), "2013-03") == original[1]
    world("heal")
    assert _rows() == original[0]
    assert not (settings().home / "world" / "faults.json").exists()


def test_duplicate_rows_are_exact_copies(inject: Command, february: list[Row]) -> None:
    assert "100 rows" in inject("duplicate_rows", KEY, "--percent", 5)
    more = _frozen(_rows()) - _frozen(february)
    assert more.total() == len(more) == 100
    assert set(more) <= set(_frozen(february))


def test_a_repeated_page_brings_some_rows_twice_and_others_never(inject: Command, february: list[Row]) -> None:
    inject("repeated_page", KEY)
    pages = [_page(number, limit=1000) for number in (1, 2, 3)]
    assert [(page["page"], page["pages"], page["total"], len(page["data"])) for page in pages] == [(1, 3, 2010, 1000), (2, 3, 2010, 1000), (3, 3, 2010, 10)]
    assert pages[1]["data"] == pages[0]["data"] == february[:1000]
    assert pages[2]["data"] == february[2000:]
    assert _page(1, limit=10_000)["data"] == february


def test_a_duplicate_page_is_one_more_and_counted(inject: Command, february: list[Row]) -> None:
    inject("duplicate_page", KEY)
    pages = [_page(number, limit=1000) for number in (1, 2, 3, 4, 5)]
    assert {(page["pages"], page["total"]) for page in pages} == {(4, 2020)}
    assert pages[3]["data"] == pages[2]["data"] == february[2000:]
    assert pages[4]["data"] == []


def test_late_rows_become_known_ten_days_after_the_closing(inject: Command, february: list[Row]) -> None:
    inject("late_rows", KEY, "--percent", 2)
    in_time = _rows()
    assert len(in_time) == 1970
    assert _rows(late(KEY) - timedelta(seconds=1)) == in_time
    everything = _rows(late(KEY))
    moved = [row for row in everything if datetime.fromisoformat(row["recorded_at"]) == late(KEY)]
    assert len(moved) == 40
    assert [row | {"recorded_at": ""} for row in everything] == [row | {"recorded_at": ""} for row in february]
    assert (_changes(CLOSED, LATER), _changes(late(KEY), LATER)) == (40, 0)


def test_corrections_are_later_versions_with_another_value(inject: Command, february: list[Row]) -> None:
    inject("corrections", KEY, "--percent", 1)
    assert _rows() == february
    assert _changes(CLOSED, LATER) == 20
    known = _rows(LATER)
    assert known[:2010] == february
    old = {_key(row): row for row in february}
    assert len({_key(row) for row in known[2010:]}) == len(known) - 2010 == 20
    for row in known[2010:]:
        assert row == old[_key(row)] | {"temp": old[_key(row)]["temp"] + 5, "recorded_at": late(KEY).isoformat()}


def test_of_corrections_out_of_order_the_newer_is_sent_first(inject: Command, february: list[Row]) -> None:
    inject("corrections_out_of_order", KEY, "--percent", 1)
    news = _rows(LATER)[2010:]
    old = {_key(row): row for row in february}
    assert len(news) == 40
    for newer, older in zip(news[::2], news[1::2], strict=True):
        assert _key(newer) == _key(older)
        assert datetime.fromisoformat(newer["recorded_at"]) - datetime.fromisoformat(older["recorded_at"]) == timedelta(days=1)
        assert [row["temp"] - old[_key(row)]["temp"] for row in (newer, older)] == pytest.approx([10, 5])
    assert len(_rows(late(KEY))) == 2030


@pytest.mark.parametrize(("percent", "statuses"), [(50, [503, 200] * 3), (25, [503, 200, 200, 200, 503, 200]), (100, [503] * 6)])
def test_errors_come_in_turn_so_that_another_try_succeeds(inject: Command, world: Command, percent: int, statuses: list[int]) -> None:
    inject("errors", KEY, "--percent", percent)
    assert [_get().status_code for _ in range(6)] == statuses
    # and counts anew when it is injected anew
    world("heal")
    inject("errors", KEY, "--percent", percent)
    assert _get("/weather/changes", after=CLOSED.isoformat()).status_code == 503


def test_in_an_outage_every_request_for_the_month_fails(inject: Command) -> None:
    inject("outage", KEY)
    assert {_get(page=page).status_code for page in (1, 2, 3)} == {503}
    assert _get("/weather/changes", after=CLOSED.isoformat()).status_code == 503
    assert _get(month="2013-03").status_code == 200
    assert httpx.get(settings().url("world") + "/health").status_code == 200


def test_slow_answers_take_their_seconds_and_no_other_waits(inject: Command, february: list[Row]) -> None:
    inject("slow", KEY)
    entries = json.loads((settings().home / "world" / "faults.json").read_text())
    assert [(entry["name"], entry["seconds"]) for entry in entries] == [("slow", 3.0)]
    # the file is the seam: what it says counts, whoever wrote it
    (settings().home / "world" / "faults.json").write_text(json.dumps([entries[0] | {"seconds": 0.7}]))
    answer = _get(limit=10_000)
    assert answer.json()["data"] == february
    assert 0.7 <= answer.elapsed.total_seconds() < 3
    assert _get(month="2013-03").elapsed.total_seconds() < 0.7


def test_a_new_column(inject: Command, february: list[Row]) -> None:
    inject("new_column", KEY)
    assert _rows() == [row | {"cloud_cover": 0.5} for row in february]


def test_a_lost_column(inject: Command, february: list[Row]) -> None:
    inject("lost_column", KEY)
    assert _rows() == [{name: value for name, value in row.items() if name != "visib"} for row in february]


def test_a_renamed_column(inject: Command, february: list[Row]) -> None:
    inject("renamed_column", KEY)
    assert _rows() == [{"visibility" if name == "visib" else name: value for name, value in row.items()} for row in february]


def test_a_retyped_column(inject: Command, february: list[Row]) -> None:
    inject("retyped_column", KEY)
    assert _rows() == [row | {"temp": f"{row['temp']} F"} for row in february]


def test_a_unit_change(inject: Command, february: list[Row]) -> None:
    assert "2010 rows" in inject("unit_change", KEY)
    assert _rows() == [row | {"temp": round((row["temp"] - 32) / 1.8, 2)} for row in february]


def _poisoned(february: list[Row]) -> list[tuple[Row, Row]]:
    """(as it is, as it should be) of each row that is not as it should be."""
    return [(new, old) for new, old in zip(_rows(), february, strict=True) if new != old]


def test_poison_of_no_number_is_no_json_of_the_standard(inject: Command, february: list[Row]) -> None:
    inject("poison", KEY, "--kind", "nan", "--percent", 0.2)
    text = _get(limit=10_000).text
    assert text.count('"temp": NaN') == 4
    assert len(_poisoned(february)) == 4


def test_poison_of_absurd_numbers(inject: Command, february: list[Row]) -> None:
    inject("poison", KEY, "--kind", "absurd", "--percent", 0.2)
    found = _poisoned(february)
    assert len(found) == 4
    assert [new for new, _ in found] == [old | {"temp": 1e30, "wind_speed": 1048.0} for _, old in found]


def test_poison_of_a_nul_byte(inject: Command, february: list[Row]) -> None:
    inject("poison", KEY, "--kind", "nul", "--percent", 0.2)
    assert "\\u0000" in _get(limit=10_000).text
    found = _poisoned(february)
    assert len(found) == 4
    assert [new for new, _ in found] == [old | {"origin": old["origin"] + "\0"} for _, old in found]


def test_poison_of_a_huge_string(inject: Command, february: list[Row]) -> None:
    inject("poison", KEY, "--kind", "huge", "--percent", 0.1)
    found = _poisoned(february)
    assert len(found) == 2
    assert all(len(new["origin"]) > 1_000_000 for new, _ in found)


def test_the_seed_decides_which_rows(inject: Command, february: list[Row], world: Command) -> None:
    def doubled(seed: int) -> Counter[str]:
        world("heal")
        inject("duplicate_rows", KEY, "--percent", 5, "--seed", seed)
        return _frozen(_rows()) - _frozen(february)

    first = doubled(7)
    assert first.total() == 100
    assert doubled(7) == first
    assert doubled(8) != first


def test_the_example_that_is_told_is_one_of_the_rows(inject: Command, february: list[Row]) -> None:
    example = inject("poison", KEY, "--kind", "absurd").split("such as ")[1].strip()
    assert example in [f"{datetime.fromisoformat(old['time_hour']):%Y-%m-%dT%H:%M:%SZ}/{old['origin']}" for _, old in _poisoned(february)]


def test_all_faults_at_once_still_answer_in_whatever_order_they_came(inject: Command) -> None:
    for fault in ("retyped_column", "lost_column", "renamed_column", "new_column", "duplicate_page", "repeated_page", "duplicate_rows"):
        inject(fault, KEY)
    for kind in ("nul", "huge", "nan", "absurd"):
        inject("poison", KEY, "--kind", kind, "--percent", 0.1)
    for fault in ("corrections_out_of_order", "corrections", "late_rows", "unit_change"):
        inject(fault, KEY)
    inject("slow", KEY, "--seconds", 0.1)
    inject("errors", KEY, "--percent", 50)
    assert [_get().status_code for _ in range(2)] == [503, 200]
    assert _get("/weather/changes", after=CLOSED.isoformat()).status_code == 503
    body = _page(2, as_of=LATER.isoformat(), limit=1000)
    # 2010 + 20 + 40 versions, then copies of all versions of 20 keys, then the last page again
    assert body["total"] - 2 * (body["total"] - 2000) / 2 == 2000
    assert {"visibility", "visib"} & set(body["data"][0]) == {"visibility"}
    assert all(row["temp"].endswith(" F") for row in body["data"] if row["temp"] is not None)
