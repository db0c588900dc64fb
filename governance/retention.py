"""How long what is kept: the stage `retention`, once a day. By wall time, since it is about how long a person's data lie here, not of when they are."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg

from flightdeck import ledger
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect

# a shadow goes a day before the answer that it shadows, so that none is left without
DELETED: dict[str, LiteralString] = {
    "askers": "select personal.expire(%(days)s) as n",
    "predictions": """
        with gone as (delete from ops.predictions
            where logged_at < now() - (%(days)s + case purpose when 'shadow' then 0 else 1 end) * interval '1 day' returning 1)
        select count(*) as n from gone""",
    "alerts": """
        with gone as (delete from ops.alerts where at < now() - %(days)s * interval '1 day' returning 1),
            ended as (delete from ops.incidents where ends_at < now() - %(days)s * interval '1 day' returning 1)
        select (select count(*) from gone) + (select count(*) from ended) as n""",
    "quarantine": """
        with gone as (delete from quarantine.rows where state in ('replayed', 'waived') and at < now() - %(days)s * interval '1 day' returning 1)
        select count(*) as n from gone""",
}
DAY = 86400


def retain() -> None:
    """Delete what is older than `retention` in params.yaml lets it be; the ledger says how much of what."""
    kept: dict[str, int | None] = parameters()["retention"]
    with ledger.step(ledger.begin("retention", ledger.WHOLE)) as attempt:
        with connect() as connection:
            attempt.facts["deleted"] = dict(_rows(connection, kept))
        if (days := kept["subject_keys"]) is not None:
            attempt.facts["deleted"]["subject_keys"] = _keys(days)
        if (days := kept["logs"]) is not None:
            attempt.facts["deleted"]["logs"] = _files(settings().logs / "airflow", days)
        attempt.record("done")


def _rows(connection: Connection, kept: dict[str, int | None]) -> Iterator[tuple[str, int]]:
    wanted = {"askers": kept["askers"], "predictions": kept["predictions"], "alerts": kept["alerts"], "quarantine": kept["quarantine"]}
    for name, days in wanted.items():
        if days is not None and (row := connection.execute(DELETED[name], {"days": days}).fetchone()):
            yield name, row["n"]


def _keys(days: int) -> int:
    with psycopg.connect(settings().database_url("worker", database="vault"), autocommit=True) as connection:
        row = connection.execute("select expire(%s)", (days,)).fetchone()
    return int(row[0]) if row else 0


def _files(folder: Path, days: int) -> int:
    """Delete files that nobody has written for so long, and the folders that are empty then."""
    last, gone = time.time() - days * DAY, 0
    for path in [path for path in sorted(folder.rglob("*"), reverse=True) if path.lstat().st_mtime < last]:
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
            gone += 1
    return gone
