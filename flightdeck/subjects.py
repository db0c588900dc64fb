"""Pseudonyms of people: keyed, and the keys are kept apart, in a database of their own that no backup holds. Without its key a pseudonym leads nowhere.

A subject has a key of its own: to forget a person is to delete it. The key's row is found by a digest under the secret `subjects`, so that the
vault does not say whose keys it has.
"""

import hmac
import logging
import time
from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import Literal

import psycopg

from flightdeck.settings import settings

log = logging.getLogger("flightdeck.subjects")
KEY = "select key_of(%s)"
KNOWN = "select key from keys where lookup = %s"
# so many are remembered, and for so long: a key that was deleted is not used for longer
MOST, SECONDS = 10_000, 60.0
# a vault that does not answer is left alone for so long
PAUSE_SECONDS = 5.0


class VaultUnavailable(RuntimeError):
    """The vault does not answer, so no pseudonym can be made."""


def normalized(subject: str) -> str:
    """How a subject is written down does not make it another one."""
    return subject.strip().casefold()


def digest(key: bytes, subject: str) -> bytes:
    return hmac.digest(key, normalized(subject).encode(), "sha256")


@lru_cache
def _secret() -> bytes:
    return settings().secret("subjects").encode()


def lookup(subject: str) -> bytes:
    """By which the vault finds the subject's key."""
    return digest(_secret(), subject)


def pseudonym(key: bytes, subject: str) -> str:
    return f"s-{digest(key, subject).hex()[:32]}"


Role = Literal["serving", "worker", "privacy"]


def vault(role: Role) -> psycopg.Connection[tuple[bytes]]:
    """A connection to the vault, as a role that may use it: `serving` and `worker` get the key of a subject that they have, `privacy` deletes them."""
    return psycopg.connect(
        settings().database_url(role, database="vault"), autocommit=True, connect_timeout=2, tcp_user_timeout=2000, options="-c statement_timeout=2000"
    )


def known(subject: str) -> str | None:
    """The subject's pseudonym, or None when there is no key: then nothing here leads to it. For who may erase and export."""
    with vault("privacy") as connection:
        row = connection.execute(KNOWN, (lookup(subject),)).fetchone()
    return pseudonym(bytes(row[0]), subject) if row else None


class Pseudonyms:
    """A process's pseudonyms; safe between threads. What was looked up is remembered for a minute, by digest and never by name."""

    def __init__(self, role: Role = "serving") -> None:
        self._role, self._lock = role, Lock()
        self._connection: psycopg.Connection[tuple[bytes]] | None = None
        self._found: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._rest_until = 0.0

    def at_hand(self, subject: str) -> str | None:
        """The pseudonym if it is remembered; without any waiting."""
        found = self._found.get(lookup(subject))
        return found[1] if found and found[0] > time.monotonic() else None

    def of(self, subject: str) -> str:
        """The subject's pseudonym, with a new key if it has none. Raises VaultUnavailable, after two seconds at most."""
        if found := self.at_hand(subject):
            return found
        with self._lock:
            # also for who has waited for this lock meanwhile
            if time.monotonic() < self._rest_until:
                raise VaultUnavailable("the vault did not answer a moment ago")
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = vault(self._role)
                row = self._connection.execute(KEY, (place := lookup(subject),)).fetchone()
            except psycopg.Error as error:
                self._rest_until, self._connection = time.monotonic() + PAUSE_SECONDS, None
                log.warning("the vault does not answer, so who asks is not kept: %s", error)
                raise VaultUnavailable(str(error)) from error
            assert row
            made = pseudonym(bytes(row[0]), subject)
            self._found[place] = (time.monotonic() + SECONDS, made)
            while len(self._found) > MOST:
                self._found.popitem(last=False)
            return made
