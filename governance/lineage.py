"""What is made of what, column by column: read from the dbt project's own files. Starts nothing, asks no database.

Models are rendered as dbt would render them (tests/governance/test_lineage.py holds the two against each other), and sqlglot says which column each of
theirs is computed from. Only values count as lineage: what a row is chosen or joined by is the data sets' own, `Dataset.upstream`.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from flightdeck.settings import ROOT, settings
from governance.project import Project

PROJECT = "dbt_project"
# from the least to the most protected
CLASSES = ("public", "internal", "personal")


class UnknownDataset(LookupError):
    """No data set, or no column of it, has this name; the message has near matches."""


@dataclass
class Column:
    """`origins`: the columns, as schema.table.column, that its values are computed from, one step back."""

    description: str = ""
    type: str = ""
    classification: str = ""
    # why a column made of personal ones is none itself
    declassified: str = ""
    origins: list[str] = field(default_factory=list)

    @property
    def unknown(self) -> bool:
        return self.classification not in ("", *CLASSES)


@dataclass
class Dataset:
    """A source's table, a model or a seed, by its name in the warehouse: schema.table."""

    name: str
    kind: str
    description: str = ""
    owner: str = ""
    source: str = ""
    version: int = 1
    # whether dbt enforces the columns and types that its file promises
    contracted: bool = False
    upstream: list[str] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    # handed on to later partitions: to the next one, or, where the model reads its own past, to all of them
    carried: str = ""
    # in hours after its partition has ended, for who looks back
    reaches: int = 0


@dataclass(frozen=True)
class Consumer:
    """Who reads data sets: an exposure of the dbt project."""

    name: str
    kind: str
    description: str
    owner: str
    told: str
    reads: list[str]


@dataclass
class Graph:
    datasets: dict[str, Dataset]
    consumers: list[Consumer]

    def find(self, name: str) -> tuple[Dataset, str]:
        """(data set, column or ""), by schema.table or schema.table.column; raises UnknownDataset."""
        from difflib import get_close_matches

        table, _, column = name.rpartition(".") if name.count(".") == 2 else (name, "", "")
        found = self.datasets.get(table)
        if found and (not column or column in found.columns):
            return found, column
        known = [f"{table}.{each}" for each in found.columns] if found else list(self.datasets)
        near = get_close_matches(name, known, 3, 0.4) or known[:5]
        raise UnknownDataset(f"no data set {name!r} in {PROJECT}; do you mean {' or '.join(near)}?")

    def downstream(self, name: str) -> list[str]:
        """All data sets that are made of this one, at whatever distance, in order of making."""
        reached = [name]
        for each in self.in_order():
            if set(each.upstream) & set(reached):
                reached.append(each.name)
        return reached[1:]

    def in_order(self) -> list[Dataset]:
        """Each data set after those that it is made of."""
        done: dict[str, Dataset] = {}

        def visit(name: str) -> None:
            if name not in done:
                for each in self.datasets[name].upstream:
                    visit(each)
                done[name] = self.datasets[name]

        for name in self.datasets:
            visit(name)
        return list(done.values())

    def made_from(self, column: str) -> set[str]:
        """All columns, as schema.table.column, that the values of this one are computed from, at whatever distance."""
        dataset, name = self.find(column)
        found: set[str] = set()
        for origin in dataset.columns[name].origins:
            if origin not in found:
                found |= {origin} | (self.made_from(origin) if origin.rpartition(".")[0] in self.datasets else set())
        return found

    def columns_from(self, column: str) -> list[str]:
        """All columns whose values are computed from this one, at whatever distance."""
        found = {column}
        for dataset in self.in_order():
            found |= {f"{dataset.name}.{name}" for name, each in dataset.columns.items() if found & set(each.origins)}
        return sorted(found - {column})

    def classification(self, column: str) -> str:
        """What the column's own file says, or the most protected of what it is computed from; unless it is declassified, with a reason."""
        dataset, name = self.find(column)
        own = dataset.columns[name]
        if own.declassified:
            return own.classification or CLASSES[0]
        those = [own.classification, *(self.classification(origin) for origin in own.origins if origin.rpartition(".")[0] in self.datasets)]
        return max((each for each in those if each), key=CLASSES.index, default="")

    def is_personal(self, column: str) -> bool:
        """Whether the column's own file says so."""
        dataset, name = self.find(column)
        return dataset.columns[name].classification == CLASSES[-1]


@lru_cache
def graph() -> Graph:
    """The lineage of this checkout's dbt project; reading it takes a second, so what was read is kept in the state folder until a file changes."""
    files = sorted(path for path in (ROOT / PROJECT).rglob("*") if path.suffix in (".sql", ".yml", ".csv"))
    told = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in (*files, Path(__file__)))).hexdigest()
    kept = settings().home / "work" / f"lineage-{told[:16]}.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Graph)
    found = read(ROOT / PROJECT)
    if kept.parent.is_dir():
        for older in kept.parent.glob("lineage-*.json"):
            older.unlink(missing_ok=True)
        aside = kept.with_suffix(f".{os.getpid()}")
        aside.write_bytes(msgspec.json.encode(found))
        aside.replace(kept)
    return found


def read(folder: Path) -> Graph:
    """The lineage of the dbt project in `folder`."""
    project = Project(folder)
    datasets = {each.name: each for each in (*_sources(project), *_seeds(project), *_models(project))}
    found = Graph(datasets, [])
    for dataset in found.in_order():
        if dataset.kind == "model":
            for name, origins in project.origins(dataset.name, {each: list(datasets[each].columns) for each in dataset.upstream}).items():
                dataset.columns.setdefault(name, Column()).origins = origins
    for each in project.exposures:
        reads = [project.relation(node) for node in each.get("depends_on", [])]
        owner = each["owner"]
        found.consumers.append(Consumer(each["name"], each["type"], each["description"].strip(), owner["name"], owner.get("email", ""), reads))
    return found


def _sources(project: Project) -> Iterator[Dataset]:
    for source, table in project.sources:
        meta = table.get("config", {}).get("meta", {})
        name = f"{source.get('schema', source['name'])}.{table['name']}"
        yield Dataset(name, "source", table.get("description", ""), meta.get("owner", ""), source["name"], columns=_columns(table, meta))


def _seeds(project: Project) -> Iterator[Dataset]:
    for name, described in project.seeds.items():
        meta = described.get("config", {}).get("meta", {})
        columns = {column: Column(classification=meta.get("classification", "")) for column in project.header(name)} | _columns(described, meta)
        yield Dataset(project.names[name], "seed", described.get("description", ""), meta.get("owner", ""), columns=columns)


def _models(project: Project) -> Iterator[Dataset]:
    for name, model in project.models.items():
        described = model.described
        config = described.get("config", {})
        meta = config.get("meta", {})
        carried = "" if "carried" not in config.get("tags", []) else "all" if model.reads_itself else "next"
        found = Dataset(project.names[name], "model", described.get("description", ""), meta.get("owner", ""), version=meta.get("version", 1))
        found.contracted = config.get("contract", {}).get("enforced", False)
        found.upstream, found.columns, found.carried = model.upstream, _columns(described, meta), carried
        found.reaches = meta.get("reaches_hours", 0)
        yield found


def _columns(described: dict[str, Any], meta: dict[str, Any]) -> dict[str, Column]:
    """The columns of a yml entry; what the table's meta says of the class goes for those that say nothing."""
    found = {}
    for each in described.get("columns", []):
        own = each.get("config", {}).get("meta", {})
        classification = own.get("classification", meta.get("classification", ""))
        found[each["name"]] = Column(each.get("description", ""), each.get("data_type", ""), classification, own.get("declassified", ""))
    return found
