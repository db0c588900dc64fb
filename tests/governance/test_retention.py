"""What is old goes, what is new stays, and the ledger says how much; who asked can be forgotten by a role that cannot see them."""

import os
import shutil
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from flightdeck import subjects
from flightdeck.settings import settings
from flightdeck.warehouse import connect, query
from governance import retention

KEY = "2015-06"
PREDICTION = """
insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at, shadows, logged_at)
values (%s, 'x', %s, %s, 1, 0.5, '{}', now(), %s, now() - %s * interval '1 day')"""


@pytest.fixture
def old_and_new(database: str) -> Iterator[None]:
    """One of each from long ago, and one of today; what other tests have left from long ago is gone before."""
    retention.retain()
    with connect() as connection:
        for days in (2000, 0):
            answer = uuid4()
            for identity, purpose, shadows in ((answer, "live", None), (uuid4(), "shadow", answer)):
                connection.execute(PREDICTION, (identity, KEY, purpose, shadows, days))
            connection.execute(
                "insert into ops.alerts values (%s, %s, 1, 'warning', 'x', '{}', null, null, now() - %s * interval '1 day')", (KEY, str(days), days)
            )
            for state in ("held", "waived"):
                connection.execute(
                    "insert into quarantine.rows (source_table, partition_key, row, expectation, state, at)"
                    " values ('x', %s, '{}', 'x', %s, now() - %s * interval '1 day')", (KEY, state, days),
                )  # fmt: skip
            with psycopg.connect(settings().database_url("privacy"), autocommit=True) as own:
                own.execute("insert into personal.askers values (%s, 'x', now() - %s * interval '1 day')", (answer, days))
            with subjects.vault("privacy") as vault:
                vault.execute("insert into keys (lookup, used_at) values (%s, now() - %s * interval '1 day')", (str(days).encode(), days))
            log = settings().logs / "airflow" / f"dag_id=made-{days}" / "attempt=1.log"
            log.parent.mkdir(parents=True)
            log.write_text("x")
            for path in (log, log.parent):
                os.utime(path, (time.time() - days * 86400,) * 2)
    yield
    with connect() as connection:
        for table in ("ops.predictions", "ops.alerts", "quarantine.rows"):
            connection.execute(f"delete from {table} where partition_key = %s".encode(), (KEY,))
    with psycopg.connect(settings().database_url("privacy"), autocommit=True) as own:
        own.execute("delete from personal.askers where subject = 'x'")
    with subjects.vault("privacy") as vault:
        vault.execute("delete from keys where lookup = any(%s)", ([b"0", b"2000"],))
    for folder in (settings().logs / "airflow").glob("dag_id=made-*"):
        shutil.rmtree(folder)


def left() -> dict[str, int]:
    with psycopg.connect(settings().database_url("privacy")) as own:
        asked = own.execute("select count(*) from personal.askers where subject = 'x'").fetchone()
    with subjects.vault("privacy") as vault:
        keys = vault.execute("select count(*) from keys where lookup = any(%s)", ([b"0", b"2000"],)).fetchone()
    counts = query(
        "select (select count(*) from ops.predictions where partition_key = %(key)s) as predictions, (select count(*) from ops.alerts where partition_key ="
        " %(key)s) as alerts, (select count(*) from quarantine.rows where partition_key = %(key)s) as quarantine".replace("%(key)s", f"'{KEY}'")  # type: ignore[arg-type]
    )[0]
    logs = len(list((settings().logs / "airflow").glob("dag_id=made-*")))
    return counts | {"askers": asked and asked[0], "keys": keys and keys[0], "logs": logs}


def test_what_is_old_goes_and_the_ledger_says_how_much(old_and_new: None) -> None:
    assert left() == {"predictions": 4, "alerts": 2, "quarantine": 4, "askers": 2, "keys": 2, "logs": 2}
    retention.retain()
    # a row that is held is somebody's to decide
    assert left() == {"predictions": 2, "alerts": 1, "quarantine": 3, "askers": 1, "keys": 1, "logs": 1}
    row = query("select * from ops.ledger where stage = 'retention' order by id desc limit 1")[0]
    assert (row["partition_key"], row["state"]) == ("all", "done")
    assert row["facts"]["deleted"] == {"askers": 1, "predictions": 2, "alerts": 1, "quarantine": 1, "subject_keys": 1, "logs": 1}
    audit = query("select who, did, what from ops.audit order by at desc limit 1", role="reader")[0]
    assert audit == {"who": "the platform", "did": "deleted", "what": "retention"}


def test_null_keeps_it(old_and_new: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = dict.fromkeys([*retention.DELETED, "subject_keys", "logs"])
    monkeypatch.setattr(retention, "parameters", lambda: {"retention": kept})
    before = left()
    retention.retain()
    assert left() == before
