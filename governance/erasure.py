"""Forgetting a person: found in every store, rewritten or deleted there, and their key destroyed; then every store is searched again."""

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from flightdeck import ledger, subjects
from flightdeck.settings import settings
from flightdeck.warehouse import Row, query
from governance.files import APART, Artifacts, Backup, Files, Lake, Snapshots
from governance.stores import DATABASES, Askers, Database, Words

STAGE = "erase"
RELEASES = """
select distinct on (outputs -> 'release' ->> 'model_version') outputs -> 'release' as release from ops.ledger
where stage = 'train' and state = 'done' and outputs ? 'release'"""
# shorter words are in too much that is no person's
SHORTEST = 4
DATA = """
select a.logged_at as asked_at, p.prediction_id::text, p.entity_id, p.partition_key, p.purpose, p.model_version, p.probability, p.features, p.requested_at
from personal.askers a left join ops.predictions p using (prediction_id) where a.subject = %s order by a.logged_at"""
Tell = Callable[[str], None]


class NotErased(RuntimeError):
    """The erasure is not complete; the message says what is left. The same command goes on."""


class TooShort(ValueError):
    """A word that would be found in what is not the person's."""


def checked(subject: str) -> str:
    subject = subject.strip()
    if len(subject) < SHORTEST:
        raise TooShort(f"{subject!r}: a subject has {SHORTEST} letters or more, or everything would be rewritten")
    return subject


def stores(subject: str, backups: list[Path]) -> list[Any]:
    """Every store, in the order of erasing: what others are made of comes first."""
    home = settings().home
    models = [row["release"]["artifact"] for row in query(RELEASES)]
    folders = [Files(f"folder {path.name}", str(path)) for path in sorted(home.iterdir()) if path.is_dir() and path.name not in APART]
    snapshots = [Snapshots("DVC remote", settings().dvc_remote), Snapshots("DVC cache", str(home / "dvc" / "cache"))]
    return [Askers(), *map(Database, DATABASES), Lake(), *folders, *snapshots, Artifacts(models), *(Backup(place, subject) for place in backups)]


def words(subject: str) -> Words:
    """What leads to the subject: as it is written, and its pseudonym as long as its key is there."""
    known = subjects.known(subject)
    return Words(*(each for each in (subject, known) if each))


def find(subject: str, backups: list[Path], tell: Tell = lambda _: None) -> dict[str, list[str]]:
    """{store: places} where anything leads to the subject. Raises TooShort."""
    subject = checked(subject)
    wanted, found = words(subject), {}
    for store in stores(subject, backups):
        tell(f"searching {store.name}")
        found[store.name] = store.find(wanted)
    if subjects.known(subject):
        found["vault"] = ["a key"]
    return {name: places for name, places in found.items() if places}


def erase(subject: str, backups: list[Path], tell: Tell = lambda _: None) -> dict[str, Any]:
    """Erase the subject everywhere and write a receipt into the ledger; returns it. May run again. Raises TooShort or NotErased.

    {"receipt", "by", "stores": {name: {"found", "did"}}, "versions": those that learned from it, "left": [...]}; the receipt says nothing of the subject.
    """
    subject = checked(subject)
    attempt = ledger.begin(STAGE, ledger.WHOLE)
    receipt = {"receipt": str(uuid4()), "by": getpass.getuser()}
    done: dict[str, dict[str, Any]] = {}
    left: dict[str, dict[str, str]] = {}
    attempt.facts = receipt | {"stores": done}
    every: list[Any] = []
    # read now: what has failed later may be the warehouse
    releases = query(RELEASES)
    try:
        every, wanted = stores(subject, backups), words(subject)
        for store in every:
            tell(f"erasing in {store.name}")
            erased = store.erase(wanted)
            done[store.name] = {"found": len(erased.found), "did": erased.did}
            left[store.name] = erased.left
        # last: until then it leads to what is still there
        keys = _forget(subject)
        done["vault"] = {"found": keys, "did": "key destroyed" if keys else "held nothing"}
        for name, places in find(subject, backups, tell).items():
            left[name] = dict.fromkeys(places, "it is still there: is something still writing it?") | left.get(name, {})
    except BaseException as error:
        # said now: what learned from an object is not found by it again
        versions, rest = _learned(every, releases), [store.name for store in every if store.name not in done] + ["vault"]
        attempt.outputs = {"retrain": versions}
        attempt.facts |= {"versions": versions, "left": rest, "error": f"{type(error).__name__} after {', '.join(done) or 'nothing'}"}
        attempt.record("failed")
        if not isinstance(error, Exception):
            raise
        learned = f"; versions that learned from what is gone: {', '.join(map(str, versions))}" if versions else ""
        raise NotErased(f"{type(error).__name__}: {error}; done: {', '.join(done) or 'nothing'}; left: {', '.join(rest)}{learned}") from error
    versions = _learned(every, releases)
    told = [f"{name}: {place}: {why}" for name, places in left.items() for place, why in places.items()]
    attempt.outputs, attempt.facts = {"retrain": versions}, attempt.facts | {"versions": versions, "left": told}
    attempt.record("failed" if told else "done")
    if told:
        raise NotErased("; ".join(told))
    return attempt.facts


def _learned(every: list[Any], releases: list[Row]) -> list[int]:
    """The versions that learned from objects that are gone."""
    gone = {md5 for store in every for md5 in getattr(store, "gone", ())}
    return sorted(row["release"]["model_version"] for row in releases if gone & set(row["release"].get("snapshot", {}).values()))


def _forget(subject: str) -> int:
    with subjects.vault("privacy") as connection:
        return connection.execute("delete from keys where lookup = %s", (subjects.lookup(subject),)).rowcount


def export(subject: str, tell: Tell = lambda _: None) -> dict[str, Any]:
    """What there is of a person: what was asked in their name, the warehouse's rows that name them, and every place that they are found in.

    That it was read is in the ledger.
    """
    subject = checked(subject)
    attempt = ledger.begin("export", ledger.WHOLE)
    known = subjects.known(subject)
    with psycopg.connect(settings().database_url("privacy"), row_factory=psycopg.rows.dict_row) as connection:
        asked = connection.execute(DATA, (known,)).fetchall() if known else []
    found = {name: places for name, places in find(subject, [], tell).items() if name not in ("vault", Askers.name)}
    rows = Database(DATABASES[0]).rows(words(subject))
    attempt.facts = {"by": getpass.getuser(), "predictions": len(asked), "places": sum(map(len, found.values()))}
    attempt.record("done")
    return {"subject": subject, "predictions": asked, "rows": rows, "elsewhere": found}
