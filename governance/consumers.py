"""What consumers were promised: the columns of each contracted data set as they were last published. `python -m governance.consumers --publish`."""

from pathlib import Path
from typing import Any

import click
import yaml

from flightdeck.contracts import contracts
from flightdeck.settings import ROOT
from governance.lineage import CLASSES, PROJECT, Dataset, Graph, read

PUBLISHED = f"{PROJECT}/published_contracts.yml"
HEADER = (
    "# What the readers of each data set were promised; written by `python -m governance.consumers --publish`, and held against the models by `make check`.\n"
)
PUBLISH = "python -m governance.consumers --publish"
# what reads numbers about everybody, and may not see anybody
IMPERSONAL = ("ml", "analysis", "dashboard", "notebook")


def promised(graph: Graph) -> dict[str, dict[str, Any]]:
    """{data set: {"version", "columns": {column: type}}} of those whose contract dbt enforces."""
    contracted = sorted((each for each in graph.datasets.values() if each.contracted), key=lambda each: each.name)
    return {each.name: {"version": each.version, "columns": {name: column.type for name, column in each.columns.items()}} for each in contracted}


def problems(root: Path = ROOT) -> list[str]:
    """What no change may leave behind, each with its cure; empty when all is well."""
    graph = read(root / PROJECT)
    before: dict[str, Any] = yaml.safe_load((root / PUBLISHED).read_text())
    columns = [(f"{each.name}.{name}", column) for each in graph.datasets.values() for name, column in each.columns.items()]
    if unknown := [f"{name}: classification {column.classification!r} is none of {', '.join(CLASSES)}" for name, column in columns if column.unknown]:
        return unknown
    found = [problem for name, dataset in graph.datasets.items() if name.startswith("marts.") for problem in _described(graph, dataset)]
    return found + _subjects(graph) + _personal(graph) + broken(graph, before)


def _described(graph: Graph, dataset: Dataset) -> list[str]:
    """A mart says whose it is, and of each column what it is and how protected."""
    # a view that only a check reads is no mart
    if dataset.name.endswith("_batch"):
        return []
    missing = [] if dataset.owner else [f"{dataset.name} has no owner: config.meta.owner in its yml file"]
    for name, column in dataset.columns.items():
        missing += [] if column.description else [f"{dataset.name}.{name} has no description in its yml file"]
        classification = graph.classification(f"{dataset.name}.{name}")
        missing += [] if classification else [f"{dataset.name}.{name} has no classification, and what it is made of has none: {', '.join(CLASSES)}"]
    return missing


def _subjects(graph: Graph) -> list[str]:
    """Columns that name people, which no file calls personal."""
    named = [f"raw.{table}.{name}" for table, contract in contracts().items() for name, column in contract.columns.items() if column.subject]
    return [f"{each} names a subject: its classification is personal, in staging/sources.yml" for each in named if graph.classification(each) != CLASSES[-1]]


def _personal(graph: Graph) -> list[str]:
    """Personal columns that models learn from, or that reports show."""
    found = []
    for consumer in (each for each in graph.consumers if each.kind in IMPERSONAL):
        for name in consumer.reads:
            for column in graph.datasets[name].columns:
                if graph.classification(f"{name}.{column}") == "personal":
                    origins = sorted(each for each in graph.made_from(f"{name}.{column}") if graph.is_personal(each)) or ["its own file says so"]
                    found.append(
                        f"{name}.{column} is personal ({', '.join(origins)}), and {consumer.name} ({consumer.kind}) reads it: take it away, or say in its yml"
                        " file why it is none any more: config.meta.declassified"
                    )
    return found


def broken(graph: Graph, before: dict[str, Any]) -> list[str]:
    """Where what was promised is not kept, who reads it, and what to do; and where the promise has not been written down."""
    now, found = promised(graph), []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old is None:
            found.append(f"{name} is new: `{PUBLISH}` writes down what its readers may rely on")
            continue
        breaks = differences(old, new)
        if breaks and (new is None or new["version"] <= old["version"]):
            found.append(f"{name}: {'; '.join(breaks)}. That breaks {readers(graph, name)}: tell them, raise config.meta.version, then `{PUBLISH}`")
        elif old != new:
            found.append(f"{name} has changed since its contract was published: `{PUBLISH}`")
    return found


def differences(old: dict[str, Any], new: dict[str, Any] | None) -> list[str]:
    """What a reader of `old` would miss in `new`; what is added breaks nobody."""
    if new is None:
        return ["it is gone, or its contract is not enforced any more"]
    gone = [f"column {name} is gone" for name in old["columns"] if name not in new["columns"]]
    kinds = [(name, kind, new["columns"][name]) for name, kind in old["columns"].items() if name in new["columns"]]
    return gone + [f"column {name} is {there} and was {kind}" for name, kind, there in kinds if there != kind]


def readers(graph: Graph, name: str) -> str:
    found = [f"{each.name} ({each.owner}, {each.told})" for each in graph.consumers if name in each.reads]
    return ", ".join(found) or "nobody that an exposure names"


@click.command()
@click.option("--publish", is_flag=True, help="Write down what the contracts promise now.")
def main(publish: bool) -> None:
    """Say where the data sets are not described, not protected, or not what their readers were promised; exit 1 if anywhere."""
    if publish:
        (ROOT / PUBLISHED).write_text(HEADER + yaml.safe_dump(promised(read(ROOT / PROJECT)), sort_keys=False, width=160))
    for problem in (found := problems()):
        click.echo(problem)
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
