"""The prediction log's way to PostgreSQL: an answer goes out once its lines are in a local file; a thread copies them behind it.

The lines are in the format of PostgreSQL's COPY, so that they are written once and never read by us. A file is one process's own while that lives,
by a lock that ends with it; what a killed process leaves is copied by whoever sees it next. At least once, and unique by id: so exactly once.
A killed process, service, writer or database loses nothing. A power loss costs what the kernel had not yet written: up to about 30 seconds.
"""

import fcntl
import logging
import os
import threading
import time
from pathlib import Path
from uuid import uuid4

import psycopg

from flightdeck.settings import settings
from serving import metrics

log = logging.getLogger("flightdeck.serving")
COLUMNS = "prediction_id, entity_id, partition_key, purpose, model_version, probability, features, history_key, requested_at, seconds, shadows"
SEGMENT_BYTES = 16_000_000
# of one process, and of ended ones that it has taken over; then nothing is answered until the log is shorter
MOST_BACKLOG_BYTES = 512_000_000
READ_BYTES = 4_000_000
# by which the warehouse says that it does not take a line
REFUSED = psycopg.DataError, psycopg.IntegrityError, psycopg.errors.InsufficientPrivilege


class LogUnavailable(RuntimeError):
    """The log could not be written, so nothing may be answered."""


class Spool:
    """One process's end of the log. Copying happens in a thread of its own, between `start` and `stop`."""

    def __init__(self, folder: Path, every: float = 0.25, table: str = "ops.predictions", columns: str = COLUMNS) -> None:
        self.folder, self.every = folder, every
        self.table = table
        self.copy = f"copy {table} ({columns}) from stdin".encode()
        # what is known already stays as it is
        self.known = f"insert into {table} ({columns}) values ({', '.join(['%s'] * len(columns.split(', ')))}) on conflict do nothing".encode()
        self.refused, self.problem = 0, ""
        self._appending = threading.Lock()
        self._segments: list[Segment] = []
        # of processes that are no more: each file is one living process's, so that what all of them say can be added up
        self._left: list[Segment] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def append(self, lines: bytes) -> None:
        """Write whole lines; raises LogUnavailable when they are not in the file, all of them."""
        with self._appending:
            current = self._segments[-1] if self._segments else self._open()
            if current.size >= SEGMENT_BYTES:
                if self.backlog >= MOST_BACKLOG_BYTES:
                    raise LogUnavailable(f"{self.backlog / 1e6:.0f} MB wait for the warehouse; the limit is {MOST_BACKLOG_BYTES / 1e6:.0f} MB")
                current = self._open()
            current.append(lines)

    @property
    def backlog(self) -> int:
        """Bytes that are not in the warehouse yet."""
        return sum(segment.size - segment.done for segment in [*self._left, *self._segments])

    def start(self) -> None:
        self._thread = threading.Thread(target=self._follow, name="prediction-log", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 10) -> None:
        """Copy what is there, for at most so long; what remains is for the next process."""
        self._stop.set()
        if self._thread:
            self._thread.join(seconds)

    def _open(self) -> "Segment":
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            segment = Segment.create(self.folder)
        except OSError as error:
            raise LogUnavailable(f"the prediction log's folder cannot be written: {error}") from error
        self._segments.append(segment)
        return segment

    def _follow(self) -> None:
        while not self._stop.wait(self.every) or self.pending():
            try:
                # before there is a warehouse, so that it counts as what waits
                self._adopt()
                # a role that sees no more of the warehouse than it needs
                url = settings().database_url("serving")
                with psycopg.connect(url, autocommit=True, connect_timeout=3, application_name="flightdeck prediction log") as connection:
                    self.problem = ""
                    self.drain(connection)
            except Exception as error:
                # whatever it is: lines that nobody copies any more would be noticed when the disk is full
                self.problem = f"predictions wait for the warehouse: {error}"
                if not isinstance(error, psycopg.Error | OSError):
                    log.exception("the prediction log cannot be copied")
                self._measure()
                if self._stop.wait(1):
                    return

    def _measure(self) -> None:
        """By each worker for itself, whoever of them is asked for the metrics."""
        metrics.BACKLOG.labels(self.table).set(self.backlog)
        metrics.UNTAKEN.labels(self.table).set(self.refused)
        metrics.PROBLEM.labels(self.table).set(bool(self.problem))

    def pending(self) -> bool:
        return any(segment.size > segment.done for segment in self._segments)

    def drain(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Copy as long as there is something, or nobody says stop. Not at once: a few large copies cost the database, and whoever answers here, far less."""
        looked = 0.0
        while not self._stop.wait(self.every) or self.pending():
            for segment in list(self._segments):
                # looked at first: nothing is added to a file that another has followed
                full = segment is not self._segments[-1]
                self._empty(connection, segment)
                if full:
                    segment.remove()
                    self._segments.remove(segment)
            if time.monotonic() - looked > 2:
                looked = time.monotonic()
                self._adopt()
            for segment in list(self._left):
                self._empty(connection, segment)
                log.info("%d bytes of the prediction log, left by an ended process, are in the warehouse", segment.done)
                segment.remove()
                self._left.remove(segment)
            self._measure()

    def _adopt(self) -> None:
        """Take over what processes that are no more have left."""
        own = {segment.path for segment in [*self._left, *self._segments]}
        for path in sorted(set(self.folder.glob("*.copy")) - own):
            try:
                segment = Segment.take(path)
            except OSError as error:
                # this process's own lines go on
                log.warning("what an ended process has left cannot be taken over: %s", error)
                continue
            if segment:
                self._left.append(segment)

    def _empty(self, connection: psycopg.Connection[tuple[object, ...]], segment: "Segment") -> None:
        """What it holds now; what is added meanwhile is for the next time."""
        until = segment.size
        while lines := segment.read(until, READ_BYTES):
            self._copy(connection, lines)
            segment.done += len(lines)

    def _copy(self, connection: psycopg.Connection[tuple[object, ...]], lines: bytes) -> None:
        try:
            with connection.cursor() as cursor, cursor.copy(self.copy) as copy:
                copy.write(lines)
        except psycopg.errors.UniqueViolation:
            self._copy_unknown(connection, lines)
        except REFUSED as error:
            self._one_by_one(connection, lines, error)

    def _copy_unknown(self, connection: psycopg.Connection[tuple[object, ...]], lines: bytes) -> None:
        """Of lines that the warehouse has some of, the others."""
        rows = [[None if value == "\\N" else value for value in line.split("\t")] for line in lines.decode().splitlines()]
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(self.known, rows)
        except REFUSED as error:
            self._one_by_one(connection, lines, error)

    def _one_by_one(self, connection: psycopg.Connection[tuple[object, ...]], lines: bytes, error: psycopg.Error) -> None:
        """What the warehouse does not take is kept beside the log, and all others go on."""
        rows = lines.splitlines(keepends=True)
        if len(rows) > 1:
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                self._copy(connection, b"".join(half))
            return
        with (self.folder / "refused.txt").open("ab") as kept:
            kept.write(lines)
        self.refused += 1
        log.error("the warehouse refuses a line of the prediction log, which is kept in refused.txt: %s", error)


class Segment:
    """A file of lines, locked by the process that has it open. `size` is written and acknowledged, `done` is in the warehouse."""

    def __init__(self, path: Path, file: int, size: int) -> None:
        self.path, self.file, self.size, self.done = path, file, size, 0

    @classmethod
    def create(cls, folder: Path) -> "Segment":
        path = folder / f"{time.time_ns()}-{uuid4().hex[:8]}.copy"
        # locked before it can be seen by its name
        file = os.open(path.with_suffix(".new"), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.with_suffix(".new").rename(path)
        return cls(path, file, 0)

    @classmethod
    def take(cls, path: Path) -> "Segment | None":
        """A file that nobody holds any more; what is after its last line end was never acknowledged, and is not read."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():
                # somebody else has just copied it
                raise BlockingIOError
        except BlockingIOError:
            os.close(file)
            return None
        return cls(path, file, os.fstat(file).st_size)

    def append(self, lines: bytes) -> None:
        try:
            written = os.write(self.file, lines)
        except OSError as error:
            raise LogUnavailable(f"the prediction log cannot be written: {error}") from error
        if written != len(lines):
            os.ftruncate(self.file, self.size)
            raise LogUnavailable("the prediction log cannot be written: no space left")
        self.size += written

    def read(self, until: int, most: int) -> bytes:
        """The next whole lines up to there, of at most so many bytes."""
        chunk = os.pread(self.file, min(most, until - self.done), self.done)
        return chunk[: chunk.rfind(b"\n") + 1]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.file)
