"""A canary in every store: found before, not after, and nothing of anybody else is changed."""

import getpass
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdeck import backup, deployments, ledger, subjects
from flightdeck.deployments import Move
from flightdeck.settings import settings
from flightdeck.subjects import Pseudonyms
from flightdeck.warehouse import connect, query
from governance import erasure
from governance.erasure import NotErased, TooShort, erase, find
from monitoring import decide
from monitoring.decide import ERASED

CANARY, OTHER = "Canary.Kim@example.org", "somebody.else@example.org"
KEY = "2015-05"
TABLES = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1"
# of all rows that are not the canary's, erased or not, nor the receipt
OTHERS = """
select count(*) || '/' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) from {} t
where strpos(lower(t::text), 'erased') = 0 and strpos(lower(t::text), 'canary') = 0 and strpos(t::text, ',erase,') = 0 and strpos(t::text, ',export,') = 0"""


def flightdeck(*arguments: str, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flightdeck.cli", *arguments], capture_output=True, text=True, input=told)


def others() -> dict[str, str]:
    found = {}
    for name in ("warehouse", "vault"):
        with psycopg.connect(settings().database_url("flightdeck", database=name)) as connection:
            for (table,) in connection.execute(TABLES).fetchall():
                found[f"{name}.{table}"] = connection.execute(OTHERS.format(table).encode()).fetchone()[0]  # type: ignore[index]
    # of these two the canary's rows are gone, and have no mark
    for table in ("vault.public.keys", "warehouse.personal.askers"):
        del found[table]
    with psycopg.connect(settings().database_url("privacy")) as connection:
        rows = connection.execute("select t::text from personal.askers t where subject = %s order by 1", (subjects.known(OTHER),)).fetchall()
    return found | {"who else asked": str(rows)}


def parquet(path: Path, *names: str) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"entity_id": list(names), "leg": [float(place) for place in range(len(names))]}), path)
    return path.read_bytes()


def planted_object(place: Path, content: bytes) -> str:
    md5 = hashlib.md5(content).hexdigest()
    (place / "files/md5" / md5[:2]).mkdir(parents=True, exist_ok=True)
    (place / "files/md5" / md5[:2] / md5[2:]).write_bytes(content)
    return md5


@pytest.fixture
def planted(database: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The canary in each kind of store, somebody else beside it."""
    home, places = settings().home, {}
    with connect() as connection:
        connection.execute(
            "insert into quarantine.rows (source_table, partition_key, row, expectation) values ('made', %s, %s, 'made'), ('made', %s, %s, 'made')",
            (KEY, json.dumps({"who": CANARY, "n": 1}), KEY, json.dumps({"who": OTHER, "n": 2})),
        )
        connection.execute("insert into ops.alerts values (%s, 'made', 1, 'warning', %s, '{}')", (KEY, f"asked by {CANARY.lower()}, twice {CANARY.upper()}"))
    for asked in (CANARY, OTHER):
        with psycopg.connect(settings().database_url("privacy"), autocommit=True) as connection:
            connection.execute("insert into personal.askers values (%s, %s), (%s, %s)", (uuid4(), (name := Pseudonyms().of(asked)), uuid4(), name))
    texts = {
        name: home / name / "made" / "canary.txt"
        for name in ("reports", "logs", "expectations", "serving", "work", "airflow", "lineage", "mlflow/artifacts", "lake")
    }
    for path in texts.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{OTHER} before\n{CANARY} and {CANARY.lower()}\n{OTHER} after\n")
    places["texts"] = texts
    places["parquet"] = home / "reports/made/canary.parquet"
    parquet(places["parquet"], CANARY, OTHER)
    snapshot = parquet(tmp_path / "snapshot.parquet", f"1/{CANARY}", OTHER)
    places["md5"] = {place: planted_object(Path(place), snapshot) for place in (settings().dvc_remote, str(home / "dvc/cache"))}
    places["other_md5"] = planted_object(Path(settings().dvc_remote), parquet(tmp_path / "other.parquet", OTHER))
    attempt = ledger.begin("train", KEY)
    md5 = places["md5"][settings().dvc_remote]
    attempt.outputs = {"release": {"model_version": 77, "artifact": "1/models/m-77/artifacts/model.lgb", "snapshot": {KEY: md5}, "sha256": "77"}}
    attempt.record("done")
    yield places
    with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        for table in ("quarantine.rows", "ops.alerts", "ops.ledger", "ops.deployments"):
            connection.execute(f"delete from {table} where partition_key in (%s, 'all')".encode(), (KEY,))
        connection.execute("delete from personal.askers")
    with subjects.vault("privacy") as connection:
        connection.execute("delete from keys")
    for path in [*texts.values(), places["parquet"]]:
        path.unlink(missing_ok=True)


def test_found_in_every_store_before_and_in_none_after(planted: dict[str, Any]) -> None:
    before, counted = others(), find(CANARY, [])
    pseudonym = subjects.known(CANARY)
    assert set(counted) == {
        "who asked", "database warehouse", "lake", "folder reports", "folder logs", "folder expectations", "folder serving", "folder work", "folder airflow",
        "folder lineage", "DVC remote", "DVC cache",
        "MLflow artifacts", "vault",
    }  # fmt: skip
    done = flightdeck("erase", "--verify", CANARY)
    assert (done.returncode, "quarantine.rows.row in 1 row(s)" in done.stdout) == (1, True)

    done = flightdeck("erase", "-", told=f"{CANARY}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "versions that learned from it: 77; the next decision asks for a training" in done.stdout
    assert "key destroyed (1)" in done.stdout

    assert find(CANARY, []) == {}
    done = flightdeck("erase", "--verify", CANARY.lower())
    assert (done.returncode, done.stdout.strip().splitlines()[-1]) == (0, "nothing leads to this subject")
    # nor does what stood for it, where somebody has noted that down
    assert pseudonym
    assert find(pseudonym, []) == {}
    assert others() == before, "somebody else's data are changed"
    for path in planted["texts"].values():
        assert path.read_text() == f"{OTHER} before\n{'*' * len(CANARY)} and {'*' * len(CANARY)}\n{OTHER} after\n"
    assert pq.read_table(planted["parquet"]).to_pydict() == {"entity_id": ["erased", OTHER], "leg": [0.0, 1.0]}
    other = planted["other_md5"]
    assert (Path(settings().dvc_remote) / "files/md5" / other[:2] / other[2:]).exists()
    rows = [row["row"] for row in query("select row from quarantine.rows where partition_key = %s order by id", KEY)]
    assert rows == [{"who": "erased", "n": 1}, {"who": OTHER, "n": 2}]
    assert find(OTHER, [])["vault"] == ["a key"]
    receipt = query("select * from ops.ledger where stage = 'erase' order by id desc limit 1")[0]
    assert (receipt["partition_key"], receipt["state"], receipt["outputs"]) == ("all", "done", {"retrain": [77]})
    assert "canary" not in json.dumps(receipt, default=str).lower()
    assert "all" not in {row["key"] for row in status()}


def status() -> list[dict[str, Any]]:
    from flightdeck.status import partitions

    return partitions()


def test_an_erasure_that_fails_half_way_says_so_and_goes_on(planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(erasure.Lake):
        def find(self, words: Any) -> list[str]:
            raise OSError("the disk is gone")

        def erase(self, words: Any) -> Any:
            raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "Lake", Broken)
        with pytest.raises(NotErased, match=r"OSError: the disk is gone; done: who asked, .*; left: lake, folder .*, vault$"):
            erase(CANARY, [])
    row = query("select * from ops.ledger where stage = 'erase' order by id desc limit 1")[0]
    assert row["state"] == "failed"
    assert row["facts"]["error"] == "OSError after who asked, database warehouse, database mlflow, database airflow"
    # the key is the last to go: so the second time finds the rest
    assert subjects.known(CANARY)
    done = erase(CANARY, [])["stores"]
    assert "lake" in done
    assert done["vault"] == {"found": 1, "did": "key destroyed"}
    assert find(CANARY, []) == {}
    # there is no key to destroy any more
    assert erase(CANARY, [])["stores"]["vault"] == {"found": 0, "did": "held nothing"}


def test_what_learned_from_deleted_objects_is_named_even_where_the_erasure_fails_later(planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(erasure.Artifacts):
        def erase(self, words: Any) -> Any:
            raise OSError("the store is gone")

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "Artifacts", Broken)
        with pytest.raises(NotErased, match="versions that learned from what is gone: 77"):
            erase(CANARY, [])
    # the second time finds those objects no more, and takes nothing back
    assert erase(CANARY, [])["versions"] == []
    assert [row["version"] for row in query(ERASED)] == [77]
    assert decide.decision({"erased": [77]}, {}).retrain
    # until something was trained since
    attempt = ledger.begin("train", KEY)
    attempt.outputs = {"release": {"model_version": 78, "artifact": "1/models/m-78/artifacts/model.lgb", "snapshot": {}, "sha256": "78"}}
    attempt.record("done")
    assert query(ERASED) == []


def test_the_audit_says_who_has_read_and_erased_and_nothing_of_whom(planted: dict[str, Any]) -> None:
    begun = query("select clock_timestamp() as at")[0]["at"]
    assert flightdeck("export", CANARY).returncode == 0
    erase(CANARY, [])
    attempt = ledger.begin("approve", KEY)
    attempt.facts = {"approved": True, "by": "somebody"}
    attempt.record("done")
    with connect() as connection:
        deployments.record(connection, KEY, {"model_version": 77}, Move("champion", ["better"], {"by": "somebody"}))
        connection.execute(
            "insert into quarantine.rows (source_table, partition_key, row, expectation, state, rule, reason, by)"
            " values ('made', %s, '{}', 'made', 'waived', 'a rule', 'its reason', 'somebody')",
            (KEY,),
        )
    rows = query("select who, did, what, details from ops.audit where at >= %s order by at", begun)
    me = getpass.getuser()
    assert [(row["who"], row["did"], row["what"]) for row in rows] == [
        (me, "read", "export"), (me, "erased", "erase"), ("somebody", "approved", f"approve of {KEY}"),
        ("somebody", "promoted", f"version 77 for {KEY}"), ("somebody", "repaired", f"a row of made of {KEY}"),
    ]  # fmt: skip
    assert rows[-1]["details"]["reason"] == "its reason"
    assert "canary" not in json.dumps(rows).lower()


def test_a_backup_holds_pseudonyms_that_lead_nowhere_and_one_with_a_name_is_not_kept_quiet(planted: dict[str, Any], tmp_path: Path) -> None:
    backup.backup(tmp_path / "named", None, lambda _: None)
    # neither the keys, nor anything that leads to them
    assert {path.name for path in (tmp_path / "named" / "databases").iterdir()} == {"airflow", "mlflow", "source", "warehouse"}
    with pytest.raises(NotErased, match="databases/warehouse: a backup is not rewritten; destroy it"):
        erase(CANARY, [tmp_path / "named"])
    assert "database warehouse" not in find(CANARY, [])
    receipt = query("select state, outputs from ops.ledger where stage = 'erase' order by id desc limit 1")[0]
    assert (receipt["state"], receipt["outputs"]) == ("failed", {"retrain": [77]})
    # asked again after that, and backed up
    with psycopg.connect(settings().database_url("privacy"), autocommit=True) as connection:
        connection.execute("insert into personal.askers values (%s, %s)", (uuid4(), Pseudonyms().of(CANARY)))
    backup.backup(tmp_path / "clean", None, lambda _: None)
    assert find(CANARY, [tmp_path / "clean"])[f"backup {tmp_path / 'clean'}"] == ["databases/warehouse"]
    done = erase(CANARY, [tmp_path / "clean"])
    assert done["stores"][f"backup {tmp_path / 'clean'}"] == {"found": 1, "did": "unreadable: the key is gone"}
    assert find(CANARY, [tmp_path / "clean"]) == {}


def test_a_person_gets_what_there_is_of_them(planted: dict[str, Any]) -> None:
    done = flightdeck("export", CANARY)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["predictions"]) == 2
    assert "database warehouse" in found["elsewhere"]
    assert [row["row"] for row in found["rows"]["quarantine.rows"]] == [{"who": CANARY, "n": 1}]
    assert [row["summary"] for row in found["rows"]["ops.alerts"]] == [f"asked by {CANARY.lower()}, twice {CANARY.upper()}"]
    assert OTHER not in done.stdout
    row = query("select * from ops.ledger where stage = 'export' order by id desc limit 1")[0]
    assert (row["facts"]["predictions"], bool(row["facts"]["by"])) == (2, True)


@pytest.mark.parametrize("word", ["", " a ", "abc"])
def test_a_word_that_is_in_everything_is_refused(database: str, word: str) -> None:
    with pytest.raises(TooShort):
        erase(word, [])
    assert flightdeck("erase", "ab").returncode == 2
