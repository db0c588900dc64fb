"""From what was asked to what is answered: which release answers, its probabilities, and the log's lines, which are written first."""

import os
from collections.abc import Iterable
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from ml.features import FEATURES, row
from serving.metrics import FAILED
from serving.reference import Asked
from serving.release import Release

if TYPE_CHECKING:
    from serving.follower import Serving

NULL = r"\N"
ENCODE = msgspec.json.Encoder().encode
# an object of them in the log, at a fraction of a dictionary's cost
Features = msgspec.defstruct("Features", [(name, float | None) for name in FEATURES], gc=False)


class Asking(msgspec.Struct, frozen=True, gc=False):
    """What a request says of itself: why, at which (perhaps simulated) time it is asked, in ISO 8601, and by whom, as a pseudonym."""

    purpose: str
    at: str
    subject: str | None = None


class Part(msgspec.Struct, frozen=True):
    """Some instances, answered, and what the log is to say of it."""

    asked: list[Asked]
    rows: list[list[float]]
    identities: list[str]
    probabilities: list[float]
    release: Release
    lines: bytes


def identities(count: int) -> list[str]:
    """Random UUIDs, from one call of the system."""
    digits = os.urandom(16 * count).hex()
    # the version is 4, the variant the standard's own
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}-a{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(0, 32 * count, 32)
    ]


def chosen(now: "Serving", request: bytes) -> Release | None:
    """The release that answers: by the hash of the request, a candidate for its share of them. The same request goes the same way."""
    if now.candidate and now.share and crc32(request) < now.share * 2**32:
        return now.candidate
    return now.release


def part(release: Release, asked: list[Asked], asking: Asking) -> Part:
    """Answer some instances; raises InvalidModel."""
    rows = [row(one.values) for one in asked]
    begun = perf_counter()
    probabilities = release.probabilities(rows)
    seconds = (perf_counter() - begun) / len(rows)
    made = identities(len(rows))
    return Part(asked, rows, made, probabilities, release, lines(zip(made, asked, probabilities, strict=True), release.version, asking, seconds))


def askers(parts: list[Part], subject: str) -> bytes:
    """The lines that say who asked, for a log of their own, in COPY's text format."""
    return "".join([f"{identity}\t{subject}\n" for each in parts for identity in each.identities]).encode()


def failure(release: Release, asked: list[Asked], asking: Asking) -> bytes:
    """The log's lines of a candidate that could not answer: not a number."""
    FAILED.labels(str(release.version)).inc(len(asked))
    nothing = zip(identities(len(asked)), asked, repeat(float("nan")))
    return lines(nothing, release.version, Asking("shadow", asking.at), None)


def lines(answers: Iterable[tuple[str, Asked, float]], version: int, asking: Asking, seconds: float | None, shadows: list[str] | None = None) -> bytes:
    """The log's lines: COPY's text format, of values in which nothing needs a backslash. `seconds`: what one row took; `shadows`: the answers given."""
    end = f"\t{asking.at}\t{NULL if seconds is None else f'{seconds:.3g}'}\t"
    middle = f"\t{asking.purpose}\t{version}\t"
    told = []
    for (identity, one, probability), shadowed in zip(answers, shadows or repeat(NULL), strict=False):
        features = ENCODE(Features(*one.values)).decode()
        told.append(f"{identity}\t{one.entity_id}\t{one.partition_key}{middle}{probability!r}\t{features}\t{one.history_key or NULL}{end}{shadowed}\n")
    return "".join(told).encode()
