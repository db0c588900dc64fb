"""Pseudonyms: the same for the same person, nothing without the key, and who may see what, by trying."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from flightdeck import subjects
from flightdeck.settings import settings
from flightdeck.subjects import Pseudonyms, VaultUnavailable, known, lookup, vault

PERSON = "Ada.Example@example.org"


@pytest.fixture
def forgotten(database: str) -> Iterator[None]:
    yield
    with vault("privacy") as connection:
        connection.execute("delete from keys where lookup = %s", (lookup(PERSON),))


def test_a_subject_has_one_pseudonym_in_every_process_until_its_key_is_gone(forgotten: None) -> None:
    assert known(PERSON) is None
    one, other = Pseudonyms(), Pseudonyms()
    made = one.of(PERSON)
    assert made == other.of(f"  {PERSON.upper()} ") == known(PERSON) == one.at_hand(PERSON)
    assert one.of("somebody.else@example.org") != made
    assert other.at_hand("nobody@example.org") is None
    with vault("privacy") as connection:
        rows = connection.execute("select lookup::text || key::text from keys").fetchall()
        connection.execute("delete from keys where lookup = %s", (lookup(PERSON),))
    assert not [row for row in rows if "example" in bytes.fromhex(str(row[0]).replace("\\x", "")).decode(errors="replace") or made[2:] in str(row[0])], (
        "the vault says whose keys it has"
    )
    assert known(PERSON) is None
    assert Pseudonyms().of(PERSON) != made, "a new key leads to nothing that was"


def test_a_vault_that_does_not_answer_is_said_at_once_and_left_alone_for_a_moment(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> None:
        raise psycopg.OperationalError("refused")

    pseudonyms = Pseudonyms()
    monkeypatch.setattr(subjects, "vault", refused)
    with pytest.raises(VaultUnavailable, match="refused"):
        pseudonyms.of(PERSON)
    monkeypatch.undo()
    with pytest.raises(VaultUnavailable, match="a moment ago"):
        pseudonyms.of(PERSON)
    monkeypatch.setattr(pseudonyms, "_rest_until", 0.0)
    assert pseudonyms.of(PERSON) == known(PERSON)


def test_who_waits_for_a_vault_that_hangs_does_not_try_it_too(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def hangs(role: str) -> None:
        tried.append(role)
        time.sleep(0.5)
        raise psycopg.OperationalError("timed out")

    pseudonyms, begun = Pseudonyms(), time.monotonic()
    monkeypatch.setattr(subjects, "vault", hangs)
    with ThreadPoolExecutor(6) as pool:
        failed = [pool.submit(pseudonyms.of, f"{number}@example.org").exception() for number in range(6)]
    assert {type(error) for error in failed} == {VaultUnavailable}
    assert (len(tried), time.monotonic() - begun < 1) == (1, True)


READS = "select subject from personal.askers", "select key from keys", "delete from keys", "delete from personal.askers"


@pytest.mark.parametrize(
    ("role", "place", "allowed"),
    [
        ("privacy", "warehouse", {READS[0], READS[3]}),
        ("privacy", "vault", {READS[1], READS[2]}),
        # it gets the key of a subject that it is told; it can neither list who asked, nor whose keys there are, nor delete
        ("serving", "warehouse", set()),
        ("serving", "vault", set()),
        ("reader", "warehouse", set()),
        ("worker", "warehouse", set()),
        ("worker", "vault", set()),
        ("receiver", "warehouse", set()),
    ],
)  # fmt: skip
def test_who_may_read_and_delete(database: str, role: str, place: str, allowed: set[str]) -> None:
    url = f"{settings().database_url(role).rpartition('/')[0]}/{place}"  # type: ignore[arg-type]
    done = set()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in READS:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement.encode())
                    done.add(statement)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                continue
    assert done == allowed


@pytest.mark.parametrize("role", ["reader", "receiver", "monitor", "airflow", "mlflow"])
def test_nobody_else_gets_into_the_vault(database: str, role: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"{settings().database_url(role).rpartition('/')[0]}/vault")  # type: ignore[arg-type]


def test_what_privacy_does_is_in_the_server_s_log(database: str) -> None:
    with vault("privacy") as connection:
        assert connection.execute("show log_statement").fetchone() == ("all",)
