"""The ledger's rows as OpenLineage events, for whoever shows lineage: `python -m governance.events`, and once an hour.

To a file of the state folder, or wherever OpenLineage's own variables (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, …) say. Each row is told at least once, in
order, and is known as told only then: a backend that is down gets all of it later. The ledger stays the truth; nothing here is needed for the loop.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from flightdeck.contracts import contracts
from flightdeck.parameters import parameters
from flightdeck.partitions import partition
from flightdeck.settings import settings
from flightdeck.warehouse import Row, connect, lock
from governance.lineage import graph
from governance.trace import checks

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent

# of a database row, whose commit may come after that of a later one: so each is looked for by itself
UNTOLD = """
select l.* from ops.ledger l where l.state = any(%s) and not exists (select from ops.told t where t.ledger = l.id) order by l.id limit 1000"""
STATES = {"started": "START", "published": "COMPLETE", "done": "COMPLETE", "failed": "FAIL", "superseded": "ABORT"}
PRODUCER = "https://flightdeck.invalid/ledger"
JOBS = "flightdeck"
Flow = tuple[list[str], dict[str, Any]]


def emit() -> int:
    """Tell what has not been told; returns how many events. What a backend does not take is raised, and told the next time."""
    told = 0
    with connect() as connection, lock(connection, "openlineage"):
        client = _client()
        while rows := connection.execute(UNTOLD, (list(STATES),)).fetchall():
            for row in rows:
                client.emit(event(row))
                connection.execute("insert into ops.told values (%s)", (row["id"],))
            told += len(rows)
    return told


def _client() -> "OpenLineageClient":
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport

    if any(name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG") or name.startswith("OPENLINEAGE__TRANSPORT") for name in os.environ):
        return OpenLineageClient()
    folder = settings().home / "lineage"
    folder.mkdir(exist_ok=True, mode=0o700)
    return OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(folder / "events.jsonl"), append=True)))


def event(row: Row) -> "RunEvent":
    """A row of the ledger as an event: the stage is the job, an attempt on a partition its run."""
    from openlineage.client import event_v2
    from openlineage.client.facet_v2 import error_message_run, job_type_job, nominal_time_run, processing_engine_run

    run_facets: dict[str, Any] = {"processing_engine": processing_engine_run.ProcessingEngineRunFacet(version=row["code"], name="flightdeck")}
    if row["partition_key"] != "all":
        month = partition(row["partition_key"])
        run_facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(month.start.isoformat(), month.end.isoformat())
    if row["state"] == "failed":
        run_facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(str(row["facts"].get("error", "no reason is known")), "python")
    ended = row["state"] in ("published", "done")
    inputs, outputs = flow(row) if ended else ([], {})
    return event_v2.RunEvent(
        eventTime=row["at"].isoformat(),
        run=event_v2.Run(str(uuid5(NAMESPACE_URL, f"{JOBS}/{row['stage']}/{row['partition_key']}/{row['attempt']}")), run_facets),
        job=event_v2.Job(JOBS, row["stage"], {"jobType": job_type_job.JobTypeJobFacet("BATCH", "FLIGHTDECK", "STAGE")}),
        eventType=event_v2.RunState[STATES[row["state"]]],
        inputs=[_input(name) for name in inputs],
        outputs=[_output(name, facets) for name, facets in outputs.items()],
        producer=PRODUCER,
    )


def flow(row: Row) -> Flow:
    """(data sets that the attempt has read, {data set that it has written: {"rows", "checks"}}), by schema.table, model or address."""
    facts, stage = row["facts"], row["stage"]
    if stage in ("ingest", "timetable"):
        tables = [name for name, contract in contracts().items() if contract.source in row["inputs"]]
        written = {f"raw.{name}": {"rows": facts.get(f"published_{name}"), "checks": checks(facts).get(f"landing_{name}")} for name in tables}
        return [f"{contracts()[name].source}://{name}" for name in tables], written
    if stage in ("transform", "plan"):
        built = {_mart(name): {"rows": rows, "checks": checks(facts).get(f"marts_{name}")} for name, rows in facts.get("rows", {}).items()}
        return _sources(list(built)), built
    model = f"models:/{parameters()['model']['name']}"
    match stage:
        case "train" if "release" in row["outputs"]:
            learned = [name for each in graph().consumers if each.kind == "ml" for name in each.reads]
            return learned, {f"{model}/{row['outputs']['release']['model_version']}": {}}
        case "deploy" if facts.get("model_version"):
            return [f"{model}/{facts['model_version']}"], {f"serving://{parameters()['model']['name']}": {}}
        case "requests":
            return [f"{model}/{version}" for version in facts.get("model_versions", [])], {"ops.predictions": {"rows": facts.get("answered")}}
        case "monitor" | "drift" | "estimate":
            return ["marts.features", "marts.labels", "ops.predictions"], {}
        case "deliver":
            return [f"marts.{name}" for name in facts["rows"]], {f"lake://{name}": {"rows": rows} for name, rows in facts["rows"].items()}
    return [], {}


def _mart(name: str) -> str:
    return next(each for each in graph().datasets if each.endswith(f".{name}"))


def _sources(built: list[str]) -> list[str]:
    """The sources' tables that models are made of, at whatever distance."""
    lineage = graph()
    return [name for name, each in lineage.datasets.items() if each.kind == "source" and set(built) & set(lineage.downstream(name))]


def _named(name: str) -> tuple[str, str]:
    """(namespace, name), as OpenLineage's naming conventions have them."""
    place, _, rest = name.partition("://")
    if name.startswith("models:/"):
        return settings().public_url("mlflow"), name.removeprefix("models:/")
    if place == "lake":
        split = urlsplit(settings().lake)
        return (f"{split.scheme}://{split.netloc}", f"{split.path.strip('/')}/{rest}") if split.scheme else ("file", f"{settings().lake}/{rest}")
    if place == "serving":
        return settings().public_url("serving"), rest
    if rest:
        return f"source://{place}", rest
    return f"postgres://{settings().host}:{settings().public_port('postgres')}", f"warehouse.{name}"


def _input(name: str) -> "InputDataset":
    from openlineage.client import event_v2

    return event_v2.InputDataset(*_named(name), facets=dict(_described(name)))


def _output(name: str, told: dict[str, Any]) -> "OutputDataset":
    from openlineage.client import event_v2
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    facets = dict(_described(name))
    if check := told.get("checks"):
        failed = [quality.Assertion(assertion=each.partition(":")[0], success=False, column=each.partition(":")[2] or None) for each in check["failed"]]
        suite = quality.Assertion(assertion=f"{check['expectations']} expectations", success=not check["failed"])
        facets["dataQualityAssertions"] = quality.DataQualityAssertionsDatasetFacet([suite, *failed])
    counted: dict[str, Any] = {} if told.get("rows") is None else {"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=told["rows"])}
    return event_v2.OutputDataset(*_named(name), facets=facets, outputFacets=counted)


def _described(name: str) -> Iterator[tuple[str, Any]]:
    """Columns with what they are computed from, owner and description, of what the dbt project knows."""
    if name in graph().datasets:
        yield from _facets(name).items()


@lru_cache
def _facets(name: str) -> dict[str, Any]:
    from openlineage.client.facet_v2 import column_lineage_dataset as columns
    from openlineage.client.facet_v2 import documentation_dataset, ownership_dataset, schema_dataset

    lineage = graph()
    dataset = lineage.datasets[name]
    fields = [schema_dataset.SchemaDatasetFacetFields(each, column.type or None, column.description or None) for each, column in dataset.columns.items()]
    found: dict[str, Any] = {"schema": schema_dataset.SchemaDatasetFacet(fields)}
    if dataset.owner:
        found["ownership"] = ownership_dataset.OwnershipDatasetFacet([ownership_dataset.Owner(dataset.owner, "OWNER")])
    if dataset.description:
        found["documentation"] = documentation_dataset.DocumentationDatasetFacet(dataset.description)
    origins = {column: sorted(each for each in lineage.made_from(f"{name}.{column}") if _is_source(each)) for column in dataset.columns}
    made = {
        column: columns.Fields([columns.InputField(*_named(each.rpartition(".")[0]), each.rpartition(".")[2]) for each in those])
        for column, those in origins.items()
        if those
    }
    return found | ({"columnLineage": columns.ColumnLineageDatasetFacet(made)} if made else {})


def _is_source(column: str) -> bool:
    return graph().datasets[column.rpartition(".")[0]].kind == "source"


if __name__ == "__main__":
    emit()
