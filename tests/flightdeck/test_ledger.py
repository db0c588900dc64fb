"""The ledger: append-only facts, and what is decided from them. Keys are of years that no data have."""

import itertools
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flightdeck import ledger, warehouse
from flightdeck.ledger import (
    Attempt,
    Superseded,
    begin,
    once,
    plan,
    published,
    read_until,
    record,
    reopen,
    reopened,
    standing,
    step,
    withdrawn,
)  # fmt: skip
from flightdeck.partitions import InvalidPartition
from flightdeck.settings import Settings, settings
from flightdeck.warehouse import connect, query

pytestmark = pytest.mark.usefixtures("database")
_numbers = itertools.count(1)


@pytest.fixture
def stage() -> str:
    """A stage that no other test has rows of."""
    return f"test_stage_{next(_numbers)}"


def _rows(stage: str) -> list[tuple[Any, ...]]:
    return [(row["partition_key"], row["attempt"], row["state"]) for row in query("select * from ops.ledger where stage = %s order by id", stage)]


def test_attempts_count_up_for_each_stage_and_partition(stage: str) -> None:
    assert [begin(stage, "2031-01").number for _ in range(3)] == [1, 2, 3]
    assert begin(stage, "2031-02").number == 1
    assert begin(f"{stage}_other", "2031-01").number == 1
    assert _rows(stage) == [("2031-01", 1, "started"), ("2031-01", 2, "started"), ("2031-01", 3, "started"), ("2031-02", 1, "started")]


def test_attempts_that_begin_at_once_get_numbers_of_their_own(stage: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: begin(stage, "2031-01").number, range(16)))
    assert sorted(numbers) == list(range(1, 17))


@pytest.mark.parametrize("key", [None, "", "2031-13", "2031-1"])
def test_what_is_no_partition_gets_no_row(stage: str, key: str | None) -> None:
    for start in (begin, once(stage)(lambda _: None), lambda stage, key=key: plan([key])):
        with pytest.raises(InvalidPartition):
            start(stage, key) if start is begin else start(key)
    assert _rows(stage) == []


@pytest.mark.parametrize("table", ["ledger", "deployments"])
@pytest.mark.parametrize("change", ["update ops.{} set code = 'x'", "delete from ops.{}", "truncate ops.{}"])
@pytest.mark.parametrize("role", ["worker", "flightdeck"])
def test_nobody_changes_what_is_recorded(database: str, table: str, change: str, role: str) -> None:
    begin("test_append_only", "2031-01")
    url = f"postgresql://{role}:{settings().secret(f'postgres_{role}')}@{database.rsplit('@', 1)[1]}"
    before = query("select count(*) as n, max(id) as id from ops.ledger")
    with psycopg.connect(url, autocommit=True) as connection, pytest.raises(psycopg.errors.RaiseException, match=f"{table} is append-only"):
        connection.execute(change.format(table).encode())
    assert query("select count(*) as n, max(id) as id from ops.ledger") == before


@pytest.mark.parametrize("role", ["reader", "serving"])
def test_who_only_reads_adds_nothing(role: Any) -> None:
    with connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("insert into ops.ledger (partition_key, stage, attempt, state, code) values ('2031-01', 'x', 1, 'done', '')")


def test_a_row_says_what_went_in_what_came_out_and_which_code(stage: str) -> None:
    attempt = begin(stage, "2031-01")
    attempt.inputs["raw"] = 7
    attempt.outputs["model"] = "a"
    attempt.facts |= {"rows": 3, "reasons": ["first"]}
    attempt.record("done")
    row = ledger.last(stage, "2031-01")
    assert row is not None
    assert (row["inputs"], row["outputs"], row["facts"]) == ({"raw": 7}, {"model": "a"}, {"rows": 3, "reasons": ["first"]})
    assert row["code"]


def test_a_stage_that_ended_well_is_not_done_again(stage: str) -> None:
    done = []
    run = once(stage)(lambda attempt: done.append(attempt.number))
    run("2031-01")
    run("2031-01")
    run("2031-02")
    assert done == [1, 1]
    assert _rows(stage) == [("2031-01", 1, "started"), ("2031-01", 1, "done"), ("2031-02", 1, "started"), ("2031-02", 1, "done")]


def test_a_stage_called_at_once_from_everywhere_is_done_once(stage: str) -> None:
    done = []
    run = once(stage)(lambda attempt: done.append(attempt.number))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, ["2031-01"] * 8))
    assert done == [1]


def test_a_failure_is_recorded_with_its_reason_and_done_again(stage: str) -> None:
    faults = [ConnectionError("the source is away"), None]

    @once(stage)
    def run(attempt: Attempt) -> None:
        if fault := faults.pop(0):
            raise fault
        attempt.facts["rows"] = 1

    with pytest.raises(ConnectionError):
        run("2031-01")
    failed = query("select attempt, facts from ops.ledger where stage = %s and state = 'failed'", stage)
    assert failed == [{"attempt": 1, "facts": {"error": "ConnectionError: the source is away"}}]
    assert ledger.last(stage, "2031-01") is None
    run("2031-01")
    assert _rows(stage)[2:] == [("2031-01", 2, "started"), ("2031-01", 2, "done")]


def test_a_step_that_is_killed_is_recorded_too(stage: str) -> None:
    with pytest.raises(KeyboardInterrupt), step(begin(stage, "2031-01")):
        raise KeyboardInterrupt
    assert _rows(stage)[-1] == ("2031-01", 1, "failed")


def test_somebody_else_s_stage_leaves_its_facts(stage: str) -> None:
    record(stage, "2031-01", lambda key: {"asked_for": key})
    record(stage, "2031-01", lambda key: {"asked_for": "again"})
    row = ledger.last(stage, "2031-01")
    assert row is not None
    assert row["facts"] == {"asked_for": "2031-01"}


def _publish(attempt: Attempt) -> None:
    """As stages do it, but claiming last: what came before the claim has to go, too."""
    with connect() as connection, connection.transaction():
        attempt.record("published", connection)
        attempt.claim(connection)


def test_a_superseded_attempt_may_not_publish(stage: str) -> None:
    older, newer = begin(stage, "2031-01"), begin(stage, "2031-01")
    with pytest.raises(Superseded, match="attempt 1 was superseded by attempt 2; nothing was published"):
        _publish(older)
    _publish(newer)
    assert [row for row in _rows(stage) if row[2] == "published"] == [("2031-01", 2, "published")]


def test_a_claim_holds_off_a_new_attempt_until_its_transaction_ends(stage: str) -> None:
    attempt = begin(stage, "2031-01")
    with ThreadPoolExecutor(1) as pool:
        with connect() as connection, connection.transaction():
            attempt.claim(connection)
            newer = pool.submit(begin, stage, "2031-01")
            with pytest.raises(TimeoutError):
                newer.result(timeout=0.3)
            attempt.record("published", connection)
        assert newer.result(timeout=10).number == 2
    assert [row[2] for row in _rows(stage)] == ["started", "published", "started"]


def test_later_months_wait_for_planned_and_begun_earlier_ones(stage: str) -> None:
    plan(["2033-01", "2033-02", "2033-03"])
    begin(stage, "2033-02").record("failed")
    assert _own(standing().unfinished_before(stage, "2033-03")) == ["2033-01", "2033-02"]
    Attempt(stage, "2033-01", 1).record("done")
    assert _own(standing().unfinished_before(stage, "2033-03")) == ["2033-02"]
    Attempt(stage, "2033-02", 2).record("published")
    assert _own(standing().unfinished_before(stage, "2033-03")) == []
    assert _own(standing().unfinished_before(stage, "2033-01")) == []


def _own(keys: list[str]) -> list[str]:
    return [key for key in keys if key.startswith("2033-")]


def test_a_withdrawn_partition_may_not_be_read_until_it_is_published_again() -> None:
    attempt, key = begin("transform", "2034-01"), "2034-01"
    assert key not in published()
    attempt.record("published")
    assert key in published()
    assert key in published(before="2034-02")
    assert key not in published(before=key)
    attempt.record("withdrawn")
    assert key not in published()
    attempt.record("failed")
    assert key not in published()
    attempt.record("published")
    assert published()[-1] == key
    begin("transform", key).record("withdrawn")
    assert key not in published()


def test_published_by_another_stage_opens_no_partition() -> None:
    begin("test_not_transform", "2034-02").record("published")
    assert "2034-02" not in published()


def test_a_step_of_an_attempt_that_was_overtaken_ends_as_superseded(stage: str) -> None:
    older = begin(stage, "2031-02")
    begin(stage, "2031-02")
    with step(older) as attempt, connect() as connection, connection.transaction():
        attempt.record("published", connection)
        attempt.claim(connection)
    assert [row for row in _rows(stage) if row[1] == 1] == [("2031-02", 1, "started"), ("2031-02", 1, "superseded")]
    assert "attempt 1 was superseded by attempt 2" in older.facts["reason"]


def _reopen(stage: str, key: str, **inputs: str) -> None:
    with connect() as connection, connection.transaction():
        reopen(connection, stage, key, inputs, {"changed": {"source": 3}})


def test_a_reopened_partition_is_waited_for_until_it_is_published_anew() -> None:
    key, later = "2032-01", "2032-02"
    begin("ingest", key).record("published")
    first = begin("transform", key)
    first.record("published")
    assert key not in reopened() + standing().unfinished_before("transform", later)
    _reopen("ingest", key)
    assert key in reopened(key)
    assert key not in reopened("2031-12")
    assert {key} <= set(standing().unfinished_before("ingest", later)) & set(standing().unfinished_before("transform", later))
    # its transformation as it was is no answer, and neither is a new load alone
    begin("ingest", key).record("published")
    assert key in reopened()
    assert key not in standing().unfinished_before("ingest", later)
    again = begin("transform", key)
    again.inputs["ingest"] = 2
    again.record("withdrawn")
    assert key in withdrawn()
    assert key in standing().unfinished_before("transform", later)
    again.record("published")
    assert key not in reopened() + standing().unfinished_before("transform", later) + withdrawn()
    # by hand: nobody waits for it
    begin("transform", key).record("withdrawn")
    assert key not in withdrawn() + published()


def test_the_good_end_of_a_stage_that_is_no_data_stage_outlasts_a_reopening(stage: str) -> None:
    begin(stage, "2032-03").record("done")
    _reopen("transform", "2032-03")
    assert "2032-03" not in standing().unfinished_before(stage, "2032-04")
    assert "2032-03" in reopened()
    begin("transform", "2032-03").record("published")
    begin("transform", "2032-03").record("withdrawn")


def test_months_planned_again_are_waited_for_and_new_ones_are_not_reopened() -> None:
    key = "2032-05"
    begin("transform", key).record("published")
    plan([key, "2032-06"])
    assert [each for each in reopened() if each.startswith("2032-0")] == [key]
    begin("transform", key).record("published")
    begin("transform", key).record("withdrawn")


def test_until_when_a_partition_is_read_is_the_newest_of_what_was_and_will_be(stage: str) -> None:
    attempt = begin(stage, "2032-07")
    attempt.inputs["as_of"] = "2032-08-03T04:00:00+00:00"
    assert read_until(stage) == {}
    attempt.record("published")
    assert read_until(stage) == {"2032-07": datetime(2032, 8, 3, 4, tzinfo=UTC)}
    _reopen(stage, "2032-07", as_of="2032-09-03T04:00:00+00:00")
    assert read_until(stage) == {"2032-07": datetime(2032, 9, 3, 4, tzinfo=UTC)}
    begin("transform", "2032-07").record("published")
    begin("transform", "2032-07").record("withdrawn")


def test_a_server_that_takes_connections_and_never_answers_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(warehouse, "CONNECT_SECONDS", 2)
        monkeypatch.setattr(Settings, "database_url", lambda *_: f"postgresql://worker@127.0.0.1:{silent.getsockname()[1]}/warehouse")
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            warehouse.connect()
