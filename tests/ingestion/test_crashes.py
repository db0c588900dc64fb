"""Killed at each point, the database restarted at each step, two at once: a retry gives what a clean run gives, and readers never see a half."""

import threading
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import psycopg
import pytest

import expectations.check as check_step
import ingestion.load as load_step
import ingestion.publish as publish_step
from expectations.check import check_landing, check_marts
from flightdeck import ledger, stack, transform
from flightdeck.warehouse import connect, query
from ingestion import stations
from ingestion.load import load
from ingestion.publish import publish
from tests.ingestion.months import content, ingest
from tests.sandbox import die, killed

KEY = "2013-11"
MARTS = ["intermediate.int_flights_joined", "marts.features", "marts.labels", "marts.route_history"]
# one statement, so that all is of one moment: raw by load, and the marts as whoever trusts the ledger sees them
SEEN = """
select (select count(*) from raw.flights where partition_key = %(key)s) as flights, (select count(*) from raw.weather where partition_key = %(key)s) as weather,
    (select count(distinct _dlt_load_id) from raw.flights where partition_key = %(key)s) as loads,
    (select count(*) from marts.features join ops.published using (partition_key) where partition_key = %(key)s) as features,
    (select count(*) from marts.labels join ops.published using (partition_key) where partition_key = %(key)s) as labels"""
BUILDING = "select count(*) as n from pg_stat_activity where state = 'active' and query like '%%insert into%%features%%' and pid <> pg_backend_pid()"


def _transform(key: str = KEY) -> None:
    transform.publish(check_marts(transform.build(key)))


def _marts() -> dict[str, Any]:
    """A checksum of each mart's partition."""
    sums = "select count(*) as n, md5(string_agg(t::text, '' order by t::text)) as sum from {} t where partition_key = %s"
    return {name: query(sums.format(name), KEY) for name in MARTS}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clean(database: str) -> dict[str, Any]:
    publish(check_landing(load(KEY, "timetable")))
    transform.plan(KEY)
    ingest(KEY)
    _transform()
    return content(KEY) | _marts()


@pytest.fixture
def readers(clean: dict[str, Any]) -> Iterator[None]:
    """One who polls every 20 ms, and at no time finds a part of a partition."""
    over, seen = threading.Event(), set()

    def poll() -> None:
        while not over.is_set():
            try:
                with connect("reader") as connection:
                    while not over.wait(0.02):
                        row = connection.execute(SEEN, {"key": KEY}).fetchone()
                        assert row is not None
                        seen.add(tuple(row.values()))
            except psycopg.OperationalError:
                # the database is being restarted
                over.wait(0.05)

    reader = threading.Thread(target=poll)
    reader.start()
    yield
    over.set()
    reader.join(30)
    flights, weather = clean["flights"][1], clean["weather"][1]
    assert (flights, weather, 1, flights, flights) in seen
    # out of sight while it is built anew, or whole
    assert seen <= {(flights, weather, 1, flights, flights), (flights, weather, 1, 0, 0)}


def _at(number: int, real: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """`real`, but its call of this number does something else first."""
    calls = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            then()
        return real(*arguments, **options)

    return call


def _until_published() -> None:
    publish(check_landing(load(KEY)))


def _die_in_extract() -> None:
    stations._table = _at(2, stations._table, die)
    _until_published()


def _die_before_the_publish_transaction() -> None:
    check_landing(load(KEY))
    die()


def _die_inside_the_publish_transaction() -> None:
    publish_step._move = _at(2, publish_step._move, die)
    _until_published()


def _die_after_the_publish_transaction() -> None:
    _until_published()
    die()


def _die_in_mid_dbt() -> None:
    def watch() -> None:
        with connect() as connection:
            while True:
                row = connection.execute(BUILDING).fetchone()
                if row and row["n"]:
                    die()

    threading.Thread(target=watch, daemon=True).start()
    _transform()


@pytest.mark.parametrize(
    "work",
    [_die_in_extract, _die_before_the_publish_transaction, _die_inside_the_publish_transaction, _die_after_the_publish_transaction, _die_in_mid_dbt],
    ids=lambda work: work.__name__,
)
def test_killed_anywhere_a_retry_gives_what_a_clean_run_gives(clean: dict[str, Any], readers: None, work: Callable[[], None]) -> None:
    killed(work)
    ingest(KEY)
    _transform()
    assert content(KEY) | _marts() == clean


def _restart() -> None:
    manager = stack.manager()
    manager.stopProcess("postgres")
    manager.startProcess("postgres")
    stack.wait(["postgres"], 60)


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [(stations, "_table", 2), (load_step, "settle", 1), (check_step, "_note", 2), (publish_step, "_move", 2), (transform, "_carried", 2)],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_database_restarted_in_a_step_a_retry_gives_what_a_clean_run_gives(
    clean: dict[str, Any], readers: None, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, name, _at(number, getattr(module, name), _restart))
        try:
            ingest(KEY)
            _transform()
        except psycopg.OperationalError:
            # the connection of that step is gone; what Airflow does then is try again
            pass
        else:
            # dlt's step keeps no connection of its own while it asks the source
            assert module is stations
    ingest(KEY)
    _transform()
    assert content(KEY) | _marts() == clean


def test_two_runs_of_one_partition_at_once_publish_its_rows_once(clean: dict[str, Any], readers: None) -> None:
    started = [get_context("fork").Process(target=_until_published) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    assert content(KEY) == {name: value for name, value in clean.items() if name not in MARTS}
    states = query("select attempt, state from ops.ledger where stage = 'ingest' and partition_key = %s order by attempt desc, id desc limit 4", KEY)
    newest = states[0]["attempt"]
    assert {(row["attempt"], row["state"]) for row in states} == {
        (newest, "started"),
        (newest, "published"),
        (newest - 1, "started"),
        (newest - 1, "superseded"),
    }
    assert KEY not in ledger.withdrawn()
