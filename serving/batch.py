"""Predictions for a file of instances, CSV or Parquet, by the running service: row by row in the order of the file, and what it refuses set apart."""

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from msgspec.inspect import Field, FloatType, IntType, Metadata, StructType, Type, UnionType, type_info

from flightdeck.settings import settings
from serving.schema import Instance

Row = dict[str, Any]


def fields(kind: type) -> tuple[Field, ...]:
    """Of a struct of the API."""
    found = type_info(kind)
    assert isinstance(found, StructType)
    return found.fields


def kinds(field: Field) -> list[Type]:
    """What a field may be: one type, or some."""
    kind = field.type.type if isinstance(field.type, Metadata) else field.type
    return list(kind.types) if isinstance(kind, UnionType) else [kind]


def nested(field: Field) -> type | None:
    """The struct that a field may be."""
    return next((kind.cls for kind in kinds(field) if isinstance(kind, StructType)), None)


FIELDS = {each.encode_name: each for each in fields(Instance)}
# the objects in an instance, with their fields
NESTED = {name: {each.encode_name: each for each in fields(kind)} for name, one in FIELDS.items() if (kind := nested(one))}
PLAIN = {name: one for name, one in FIELDS.items() if name not in NESTED} | {name: one for inner in NESTED.values() for name, one in inner.items()}
NUMBERS = {name: int if isinstance(kind, IntType) else float for name, one in PLAIN.items() for kind in kinds(one) if isinstance(kind, IntType | FloatType)}
ANSWER = {"prediction_id": pa.string(), "probability": pa.float64(), "label": pa.bool_(), "model_version": pa.int64()}
# of the columns before an answer's
REASON = ["row", "reason"]


class BatchFailed(RuntimeError):
    """The file cannot be read, or the service does not answer; the message names the cause."""


@dataclass
class Told:
    """What became of a file's rows: how many were answered, by which versions, and refused; and columns that no field is called like."""

    answered: int = 0
    refused: int = 0
    versions: set[int] = field(default_factory=set)
    passed_on: list[str] = field(default_factory=list)


def rows(source: Path) -> tuple[pa.Schema, int | None, Iterator[pa.RecordBatch]]:
    """(columns, how many rows where the file says so, its batches); raises BatchFailed."""
    try:
        if source.suffix == ".parquet":
            file = pq.ParquetFile(source)
            return file.schema_arrow, file.metadata.num_rows, file.iter_batches(batch_size=10_000)
        if source.suffix == ".csv":
            # as text: a value that is no number is refused with its row, and does not end the file
            names = pyarrow.csv.open_csv(source).schema.names
            as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True)
            reader = pyarrow.csv.open_csv(source, convert_options=as_text)
            return reader.schema, None, iter(reader)
    except (OSError, pa.ArrowInvalid) as error:
        raise BatchFailed(f"{source}: {error}") from error
    raise BatchFailed(f"{source}: expected a name that ends in .csv or .parquet")


def instance(row: Row) -> Row:
    """A row as an instance of the API: without what is missing, and numbers where its fields have numbers."""
    found = {name: _value(name, value) for name, value in row.items() if not _missing(value)}
    inner = {name: {one: found[one] for one in each if one in found} for name, each in NESTED.items()}
    return {name: found[name] for name in FIELDS if name in found} | {name: each for name, each in inner.items() if each}


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if name in NUMBERS and isinstance(value, str):
        try:
            return NUMBERS[name](value)
        except ValueError:
            # the service says what is wrong with it
            return value
    return int(value) if NUMBERS.get(name) is int and isinstance(value, float) and value.is_integer() else value


class Refused:
    """The rows that were refused, with their number in the file and the reason: a file beside the target, once there is one."""

    def __init__(self, path: Path, columns: list[str], stack: ExitStack) -> None:
        self.path, self.columns, self.stack = path, columns, stack
        self.writer: Any = None

    def add(self, number: int, reason: str, row: Row) -> None:
        if self.writer is None:
            self.writer = csv.writer(self.stack.enter_context(self.path.open("w", newline="")))
            self.writer.writerow([*REASON, *self.columns])
        self.writer.writerow([number, reason, *(row[name] for name in self.columns)])


def ask(client: httpx.Client, some: list[tuple[int, Row]], refuse: Callable[[int, str, Row], None]) -> tuple[list[Row], list[Row], int]:
    """(rows, their predictions, the version) of the numbered rows that the service takes; each of the others is refused with its reason."""
    some, instances = list(some), [instance(row) for _, row in some]
    while instances:
        try:
            answer = client.post("/predict", json={"instances": instances})
        except (httpx.HTTPError, ValueError) as error:
            raise BatchFailed(f"{client.base_url}: {error}; is the stack up? `flightdeck status` says so") from error
        found = answer.json()
        if answer.is_success:
            return [row for _, row in some], found["predictions"], int(found["model_version"])
        place = found.get("field", "").removeprefix("instances[").partition("]")[0]
        if answer.status_code != 400 or not place.isdigit():
            raise BatchFailed(f"{client.base_url}: {answer.status_code} {found.get('message', '')}")
        number, row = some.pop(int(place))
        instances.pop(int(place))
        refuse(number, f"{found['field'].partition('].')[2]}: {found['message'].partition(' - at ')[0]}", row)
    return [], [], 0


def predict(source: Path, target: Path, size: int, purpose: str, progress: Callable[[int, int | None], None]) -> Told:
    """Answer `source` into `target`, which appears when it is whole; `progress` is told (rows done, rows of all or None). Raises BatchFailed."""
    if target.suffix not in (".csv", ".parquet"):
        raise BatchFailed(f"{target}: expected a name that ends in .csv or .parquet")
    schema, total, batches = rows(source)
    if lacking := [name for name, each in FIELDS.items() if each.required and name not in schema.names]:
        raise BatchFailed(f"{source} lacks the column(s) {', '.join(lacking)}; it has {', '.join(schema.names)}")
    told = Told(passed_on=[name for name in schema.names if name not in PLAIN])
    if taken := [name for name in told.passed_on if name in ANSWER]:
        raise BatchFailed(f"{source} has the column(s) {', '.join(taken)} already, which the answers are to be in")
    answered = pa.schema([*schema, *ANSWER.items()])
    aside, done = target.with_name(f"{target.name}.partial"), 0
    headers = settings().authorization | {"x-purpose": purpose}
    with ExitStack() as stack:
        refused = Refused(target.with_name(f"{target.stem}.refused.csv"), schema.names, stack)
        refused.path.unlink(missing_ok=True)
        client = stack.enter_context(httpx.Client(base_url=settings().url("serving"), headers=headers, timeout=60))
        writer = stack.enter_context((pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter)(aside, answered))
        for batch in _read(source, batches):
            content = batch.to_pylist()
            for at in range(0, len(content), size):
                some = [(done + number, row) for number, row in enumerate(content[at : at + size], 1)]
                kept, predictions, version = ask(client, some, refused.add)
                if kept:
                    lines = [row | one | {"model_version": version} for row, one in zip(kept, predictions, strict=True)]
                    writer.write(pa.RecordBatch.from_pylist(lines, schema=answered))
                    told.versions.add(version)
                told.answered += len(kept)
                told.refused += len(some) - len(kept)
                done += len(some)
                progress(done, total)
    aside.replace(target)
    return told


def _read(source: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except (OSError, pa.ArrowInvalid) as error:
        raise BatchFailed(f"{source}: {error}") from error
