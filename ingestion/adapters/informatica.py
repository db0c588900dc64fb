"""Flat files that PowerCenter delivers → the registry's tables: named and cut as the exported mapping says, in dated folders.

INFORMATICA_MAPPING is the export (XML) with a flat-file target of each table's name, INFORMATICA_FILES the folder of folders `YYYY-MM-DD` with `<table>.out`.
"""

import csv
import io
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dlt
import pyarrow as pa

from flightdeck.contracts import Contract, contracts
from flightdeck.partitions import Partition
from ingestion.contract import Reading, SourceError, hints
from ingestion.files import read
from ingestion.registry import newest_drop

SOURCE = "registry"
ENCODINGS = {"UTF-8": "utf-8", "MS1252": "cp1252", "LATIN1": "latin-1", "US-ASCII": "ascii"}
QUOTES = {"DOUBLE": '"', "SINGLE": "'", "NONE": None}


def resources(reading: Reading) -> list[Any]:
    folder = newest_drop(Path(os.environ.get("INFORMATICA_FILES", "")), reading.as_of)
    return [_resource(folder, contract, reading) for contract in contracts().values() if contract.source == SOURCE]


def changed(partition: Partition, after: datetime, as_of: datetime) -> int:
    """Nothing: newer files are of the partition that they come in, and change no earlier one."""
    return 0


def _resource(folder: Path, contract: Contract, reading: Reading) -> Any:
    @dlt.resource(**hints(contract))
    def rows() -> Iterator[pa.Table]:
        path = folder / f"{contract.table}.out"
        with tempfile.TemporaryDirectory() as plain:
            # as the platform reads files: commas, a header. The folder's name is for messages
            (copy := Path(plain) / folder.name / path.name).parent.mkdir()
            copy.write_text(_plain(path, contract.table), encoding="utf-8")
            yield read(copy, contract.table, "informatica", reading)

    return rows


def _plain(path: Path, table: str) -> str:
    """The file as values with commas below a header. Raises SourceError, with the line, where it is not what the mapping says."""
    names, encoding, form, skipped = _target(table)
    place, written = f"informatica, file {path.name} of {path.parent.name}", io.StringIO()
    try:
        text = path.read_bytes().decode(encoding)
        if not text.endswith("\n"):
            raise SourceError(f"{place}: {'cut off in its last line' if text else 'empty'}")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True, **form)
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(names)
        for number, row in enumerate(rows, 1):
            if number > skipped and len(row) != len(names):
                raise SourceError(f"{place}, line {rows.line_num}: {len(row)} values, and the mapping has {len(names)} fields")
            writer.writerows([row] if number > skipped else [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{place}: {error}") from error
    return written.getvalue()


def _target(table: str) -> tuple[list[str], str, dict[str, Any], int]:
    """Of the mapping's target of this name: its fields in order, the file's encoding, how values are cut and quoted, and how many lines come before them."""
    path = os.environ.get("INFORMATICA_MAPPING", "")
    try:
        target = next(each for each in ElementTree.parse(path).iter("TARGET") if each.get("NAME") == table)  # noqa: S314 the team's own export
        flat = next(target.iter("FLATFILE"))
    except (OSError, ElementTree.ParseError) as error:
        raise SourceError(f"informatica, mapping {path}: {error}; INFORMATICA_MAPPING says where it is") from error
    except StopIteration:
        raise SourceError(f"informatica, mapping {Path(path).name}: no flat-file target {table}") from None
    fields = sorted(target.iter("TARGETFIELD"), key=lambda field: int(field.get("FIELDNUMBER", "0")))
    # a tab is written as \t or \011
    delimiter = flat.get("DELIMITERS", ",").encode().decode("unicode_escape")
    encoding, quote = ENCODINGS.get(flat.get("CODEPAGE", "UTF-8").upper()), flat.get("QUOTE_CHARACTER", "NONE")
    if flat.get("DELIMITED") != "YES" or len(delimiter) != 1 or not encoding or quote not in QUOTES:
        raise SourceError(
            f"informatica, target {table}: delimited by one character, quotes of {', '.join(QUOTES)} and {', '.join(ENCODINGS)} are read, no other"
        )
    form = {"delimiter": delimiter, "quotechar": QUOTES[quote], "quoting": csv.QUOTE_MINIMAL if QUOTES[quote] else csv.QUOTE_NONE}
    return [field.get("NAME", "") for field in fields], encoding, form, int(flat.get("SKIPROWS", "0"))
