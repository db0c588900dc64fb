"""The prediction log: what was acknowledged reaches the warehouse once, whatever is killed, and what it refuses is kept."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect
from ml.features import FEATURES
from serving import spool as spooling
from serving.answer import Asking, identities, lines
from serving.reference import Asked
from serving.spool import LogUnavailable, Segment, Spool
from tests.serving.conftest import until

VERSION = 9_000_000
AT = datetime(2015, 2, 3, 8, tzinfo=UTC).isoformat()


def some(count: int) -> tuple[list[str], bytes]:
    """(ids, lines) of answers."""
    made = identities(count)
    asked = [Asked(f"2015-02-03T10:00:00Z/UA/{number}", "2015-02", None, [0.5, *[None] * (len(FEATURES) - 1)], 0) for number in range(count)]
    return made, lines(zip(made, asked, [0.25] * count, strict=True), VERSION, Asking("probe", AT), 1e-5)


@pytest.fixture
def arrived(connection: Connection) -> Iterator[Callable[[], list[str]]]:
    """The ids that are in the warehouse."""

    def ids() -> list[str]:
        rows = connection.execute("select prediction_id from ops.predictions where model_version = %s", (VERSION,)).fetchall()
        return sorted(str(row["prediction_id"]) for row in rows)

    yield ids
    connection.execute("delete from ops.predictions where model_version = %s", (VERSION,))


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Callable[[], Spool]]:
    opened = []

    def start() -> Spool:
        opened.append(Spool(tmp_path, every=0.01))
        opened[-1].start()
        return opened[-1]

    yield start
    for each in opened:
        each.stop()


def test_ids_are_uuids_of_version_4_and_all_differ() -> None:
    found = [UUID(each) for each in identities(1000)]
    assert len(set(found)) == 1000
    assert {each.version for each in found} == {4}


def test_lines_arrive_as_they_were_written(copying: Callable[[], Spool], arrived: Callable[[], list[str]], connection: Connection) -> None:
    ids, written = some(3)
    copying().append(written)
    until(lambda: arrived() == sorted(ids))
    row = connection.execute("select * from ops.predictions where prediction_id = %s", (ids[0],)).fetchone()
    assert row
    assert (row["features"], row["history_key"], row["shadows"]) == (dict.fromkeys(FEATURES) | {FEATURES[0]: 0.5}, None, None)
    assert row["seconds"] == pytest.approx(1e-5)


def _writes_and_dies(folder: Path, told: Any) -> None:
    spool = Spool(folder)
    for _ in range(50):
        ids, written = some(4)
        spool.append(written)
        told.send(ids)
    told.send(None)
    # the process is killed in the middle of its next write: half a line is there, and nobody was told of it
    os.write(spool._segments[-1].file, some(1)[1][:100])
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_has_acknowledged_is_copied_by_the_next(tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    context = get_context("fork")
    receiver, sender = context.Pipe()
    process = context.Process(target=_writes_and_dies, args=(tmp_path, sender))
    process.start()
    # else nobody would notice that the other one died too early
    sender.close()
    acknowledged: list[str] = []
    while (ids := receiver.recv()) is not None:
        acknowledged += ids
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*.copy"))) == 1
    copying()
    until(lambda: arrived() == sorted(acknowledged))
    until(lambda: list(tmp_path.glob("*.copy")) == [])


def test_what_another_process_holds_is_left_to_it(tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    held = Segment.create(tmp_path)
    ids, written = some(2)
    held.append(written)
    spool = copying()
    mine, own = some(1)
    spool.append(own)
    until(lambda: arrived() == sorted(mine))
    # it is in the other's backlog, once
    assert spool.backlog == 0
    os.close(held.file)
    until(lambda: arrived() == sorted(ids + mine))
    until(lambda: list(tmp_path.glob("*.copy")) == [spool._segments[0].path])


def test_what_is_left_counts_as_one_process_backlog_before_there_is_a_warehouse(
    tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Segment.create(tmp_path)
    ids, written = some(40)
    left.append(written)
    os.close(left.file)
    monkeypatch.setattr(spooling, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(spooling, "MOST_BACKLOG_BYTES", len(written))
    with socket.socket() as closed, monkeypatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        nowhere = settings().model_copy(update={"port_postgres": closed.getsockname()[1]})
        patch.setattr(spooling, "settings", lambda: nowhere)
        first, second = copying(), copying()
        until(lambda: first.problem and second.problem)
        assert sorted([first.backlog, second.backlog]) == [0, len(written)]
        # so a process that begins anew may not write as much again
        heir = first if first.backlog else second

        def fill() -> None:
            for _ in range(10):
                made, more = some(2)
                heir.append(more)
                ids.extend(made)

        with pytest.raises(LogUnavailable, match="wait for the warehouse; the limit is"):
            fill()
    until(lambda: arrived() == sorted(ids))
    until(lambda: first.backlog + second.backlog == 0)


def test_what_has_arrived_already_is_counted_once(tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    """As after a database that was killed between its commit and its word of it."""
    ids, written = some(5)
    more, other = some(5)
    spool = copying()
    spool.append(written)
    until(lambda: arrived() == sorted(ids))
    spool.append(written + other)
    until(lambda: arrived() == sorted(ids + more))
    assert spool.refused == 0


def test_without_the_warehouse_it_waits_and_then_goes_on(
    tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed, monkeypatch.context() as patch:
        closed.bind(("127.0.0.1", 0))
        nowhere = settings().model_copy(update={"port_postgres": closed.getsockname()[1]})
        patch.setattr(spooling, "settings", lambda: nowhere)
        spool = copying()
        until(lambda: "wait for the warehouse" in spool.problem)
        ids, written = some(3)
        spool.append(written)
        assert spool.backlog == len(written)
        assert settings().secret("postgres_serving") not in spool.problem
    until(lambda: arrived() == sorted(ids))
    until(lambda: not spool.problem)


def test_a_connection_that_breaks_costs_nothing(copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    spool = copying()
    ids: list[str] = []
    with connect("flightdeck") as administrator:
        for _ in range(20):
            made, written = some(10)
            spool.append(written)
            ids += made
            administrator.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'flightdeck prediction log'")
            time.sleep(0.02)
    until(lambda: arrived() == sorted(ids))


def test_lines_that_keep_coming_are_copied_together(tmp_path: Path, arrived: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    copies, copy = list[int](), Spool._copy

    def counted(spool: Spool, connection: Any, lines: bytes) -> None:
        copies.append(lines.count(b"\n"))
        copy(spool, connection, lines)

    monkeypatch.setattr(Spool, "_copy", counted)
    spool, ids, begun = Spool(tmp_path, every=0.2), list[str](), time.monotonic()
    spool.start()
    while time.monotonic() - begun < 1:
        more, written = some(1)
        ids += more
        spool.append(written)
        time.sleep(0.001)
    spool.stop()
    assert arrived() == sorted(ids)
    assert sum(copies) == len(ids) > 100
    assert len(copies) < 8


def test_a_line_that_the_warehouse_refuses_is_kept_and_the_others_go_on(tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    before, written = some(3)
    after, others = some(4)
    bad = some(1)[1].replace(b"probe", b"nonsense")
    spool = copying()
    spool.append(written + bad + others)
    until(lambda: arrived() == sorted(before + after))
    assert (tmp_path / "refused.txt").read_bytes() == bad
    assert spool.refused == 1


def test_a_line_that_is_refused_beside_ones_that_are_known_is_kept_and_the_others_go_on(
    tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]
) -> None:
    """As in a file that is copied once more from its beginning."""
    known, again = some(3)
    fresh, others = some(2)
    bad = some(1)[1].replace(b"probe", b"nonsense")
    spool = copying()
    spool.append(again)
    until(lambda: arrived() == sorted(known))
    spool.append(again + bad + others)
    until(lambda: arrived() == sorted(known + fresh))
    assert (tmp_path / "refused.txt").read_bytes() == bad
    until(lambda: spool.backlog == 0)


def test_what_cannot_be_taken_over_holds_up_nobody(tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    # a name that cannot be opened: it points at itself
    (tmp_path / "1-loop.copy").symlink_to(tmp_path / "1-loop.copy")
    left = Segment.create(tmp_path)
    ids, written = some(2)
    left.append(written)
    os.close(left.file)
    more, own = some(2)
    copying().append(own)
    until(lambda: arrived() == sorted(ids + more))


def test_an_error_that_nobody_has_thought_of_stops_no_copying(
    copying: Callable[[], Spool], arrived: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "drain", lambda *_: 1 / 0)
        spool = copying()
        until(lambda: "division by zero" in spool.problem)
    ids, written = some(2)
    spool.append(written)
    until(lambda: arrived() == sorted(ids))
    until(lambda: not spool.problem)


def test_a_full_file_is_followed_by_the_next_and_removed(
    tmp_path: Path, copying: Callable[[], Spool], arrived: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "SEGMENT_BYTES", 1000)
    spool = copying()
    ids: list[str] = []
    for _ in range(50):
        made, written = some(3)
        spool.append(written)
        ids += made
    until(lambda: arrived() == sorted(ids))
    until(lambda: len(list(tmp_path.glob("*.copy"))) == 1)


def test_a_log_that_is_too_long_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(spooling, "MOST_BACKLOG_BYTES", 3000)
    spool = Spool(tmp_path)

    def fill() -> None:
        for _ in range(30):
            spool.append(some(2)[1])

    with pytest.raises(LogUnavailable, match="wait for the warehouse; the limit is"):
        fill()
    assert 3000 <= spool.backlog < 5000


def test_a_write_that_ends_early_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.append(some(1)[1])
    size = spool._segments[0].path.stat().st_size
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(spooling.os, "write", lambda file, content: write(file, content[:10]))
        with pytest.raises(LogUnavailable, match="no space left"):
            spool.append(some(1)[1])
    assert spool._segments[0].path.stat().st_size == size
    spool.append(some(1)[1])
    assert spool._segments[0].path.read_bytes().count(b"\n") == 2


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / str(uuid4())).write_text("")
    file = next(tmp_path.iterdir())
    with pytest.raises(LogUnavailable, match="cannot be written"):
        Spool(file / "log").append(some(1)[1])


def test_what_is_there_at_the_end_is_copied_before_it(copying: Callable[[], Spool], arrived: Callable[[], list[str]]) -> None:
    spool = copying()
    ids, written = some(2000)
    spool.append(written)
    spool.stop()
    assert arrived() == sorted(ids)
