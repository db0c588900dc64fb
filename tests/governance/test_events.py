"""The ledger as OpenLineage events: by the official model of an event and of each facet, each row told, and a backend that was down gets all of it later."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from flightdeck import ledger
from flightdeck.settings import settings
from flightdeck.warehouse import connect, query
from governance.events import emit, event

KEY = "2015-07"
INGESTED: dict[str, Any] = {
    "inputs": {"as_of": "2015-09-01T00:00:00+00:00", "stations": "1.5", "operations": "2.5", "registry": "3.5"},
    "facts": {
        "landed_weather": 10, "published_weather": 9, "published_flights": 100, "quarantined_weather": 1,
        "checked_landing_weather": {"failed": {"expect_column_values_to_be_between:wind_speed": 1}, "expectations": 16},
        "checked_landing_flights": {"failed": {}, "expectations": 19},
    },
}  # fmt: skip
BUILT: dict[str, Any] = {
    "inputs": {"ingest": 1},
    "facts": {
        "rows": {"features": 100, "labels": 99, "route_history": 7, "int_flights_joined": 100},
        "tests": 28,
        "checked_marts_features": {"failed": {}, "expectations": 9},
    },
}


@pytest.fixture
def rows(database: str) -> Iterator[None]:
    with connect() as connection:
        connection.execute("delete from ops.told")
        connection.execute("insert into ops.told select id from ops.ledger")
    for stage, key, told in (
        ("ingest", KEY, INGESTED),
        ("transform", KEY, BUILT),
        ("train", KEY, {"inputs": {"transform": {KEY: 1}}, "outputs": {"release": {"model_version": 5}}}),
        ("retention", ledger.WHOLE, {"facts": {"deleted": {}}}),
    ):
        attempt = ledger.begin(stage, key)
        attempt.inputs, attempt.outputs, attempt.facts = told.get("inputs", {}), told.get("outputs", {}), told.get("facts", {})
        attempt.record("published" if stage in ledger.DATA else "done")
    attempt = ledger.begin("gate", KEY)
    attempt.facts = {"error": "RuntimeError: made"}
    attempt.record("failed")
    yield
    # no other test is to take the month for one that is published
    with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as own:
        own.execute("set session_replication_role = replica")
        own.execute("delete from ops.ledger where partition_key in (%s, %s)", (KEY, ledger.WHOLE))


def official() -> dict[str, Any]:
    """{facet: its class}, of the model that OpenLineage generates from its schema."""
    package = import_module("openlineage.client.generated")
    modules = [import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    return {name: each for module in modules for name, each in vars(module).items() if name.endswith("Facet") and isinstance(each, type)}


KINDS = {
    "schema": "SchemaDatasetFacet", "columnLineage": "ColumnLineageDatasetFacet", "ownership": "OwnershipDatasetFacet",
    "documentation": "DocumentationDatasetFacet", "dataQualityAssertions": "DataQualityAssertionsDatasetFacet", "nominalTime": "NominalTimeRunFacet",
    "errorMessage": "ErrorMessageRunFacet", "processing_engine": "ProcessingEngineRunFacet", "jobType": "JobTypeJobFacet",
    "outputStatistics": "OutputStatisticsOutputDatasetFacet", "tags": "TagsRunFacet",
}  # fmt: skip


def conforms(told: dict[str, Any]) -> None:
    """Types and required fields are the official ones, nothing is there that they do not have, and each facet names its own schema."""
    from openlineage.client.event_v2 import RunEvent

    msgspec.convert(told, RunEvent)
    assert told["schemaURL"].startswith("https://openlineage.io/spec/")
    UUID(told["run"]["runId"])
    classes = official()
    found = [*told["run"]["facets"].items(), *told["job"]["facets"].items()]
    for dataset in told["inputs"] + told["outputs"]:
        assert dataset["namespace"]
        assert dataset["name"]
        found += [*dataset["facets"].items(), *dataset.get("outputFacets", {}).items()]
    for name, facet in found:
        kind = classes[KINDS[name]]
        known = {field.name for field in kind.__attrs_attrs__}
        assert set(facet) <= known, (name, facet)
        msgspec.convert(facet, kind)
        assert facet["_schemaURL"] == kind._get_schema()


def told() -> list[dict[str, Any]]:
    path = settings().home / "lineage" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_row_is_told_once_to_the_file_in_order_and_conforms(rows: None) -> None:
    before = len(told())
    assert emit() == 10
    found = told()[before:]
    assert [(each["job"]["name"], each["eventType"]) for each in found] == [
        ("ingest", "START"), ("ingest", "COMPLETE"), ("transform", "START"), ("transform", "COMPLETE"), ("train", "START"), ("train", "COMPLETE"),
        ("retention", "START"), ("retention", "COMPLETE"), ("gate", "START"), ("gate", "FAIL"),
    ]  # fmt: skip
    for each in found:
        conforms(each)
    assert [one["run"]["runId"] == other["run"]["runId"] for one, other in zip(found[::2], found[1::2], strict=True)] == [True] * 5
    assert len({each["run"]["runId"] for each in found}) == 5
    assert emit() == 0
    assert len(told()) == before + 10


def test_the_facts_are_in_the_facets(rows: None) -> None:
    emit()
    by = {(each["job"]["name"], each["eventType"]): each for each in told()[-10:]}
    ingest = by["ingest", "COMPLETE"]
    assert {(each["namespace"], each["name"]) for each in ingest["inputs"]} >= {("source://stations", "weather"), ("source://operations", "flights")}
    weather = next(each for each in ingest["outputs"] if each["name"] == "warehouse.raw.weather")
    assert weather["namespace"].startswith("postgres://127.0.0.1:")
    assert weather["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assertions = weather["facets"]["dataQualityAssertions"]["assertions"]
    assert [(each["assertion"], each["success"], each.get("column")) for each in assertions] == [
        ("16 expectations", False, None),
        ("expect_column_values_to_be_between", False, "wind_speed"),
    ]
    transform = by["transform", "COMPLETE"]
    assert {each["name"] for each in transform["inputs"]} >= {"warehouse.raw.flights", "warehouse.raw.weather", "warehouse.raw.timetable"}
    features = next(each for each in transform["outputs"] if each["name"] == "warehouse.marts.features")
    lineage = features["facets"]["columnLineage"]["fields"]
    assert [(each["name"], each["field"]) for each in lineage["plane_built"]["inputFields"]] == [("warehouse.raw.planes", "year")]
    assert features["facets"]["ownership"]["owners"] == [{"name": "feature engineering", "type": "OWNER"}]
    assert {field["name"]: field["type"] for field in features["facets"]["schema"]["fields"]}["temp"] == "double precision"
    assert transform["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith("2015-07-01T00:00:00-04:00")
    train = by["train", "COMPLETE"]
    assert [each["name"] for each in train["outputs"]] == ["late_arrival/5"]
    assert {each["name"] for each in train["inputs"]} == {"warehouse.marts.features", "warehouse.marts.labels"}
    assert by["gate", "FAIL"]["run"]["facets"]["errorMessage"]["message"] == "RuntimeError: made"
    assert "nominalTime" not in by["retention", "COMPLETE"]["run"]["facets"]


def test_a_backend_that_is_down_gets_all_of_it_later(rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[dict[str, Any]] = []
    broken = threading.Event()

    class Backend(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if len(received) == 3 and not broken.is_set():
                broken.set()
                self.send_response(400)
            else:
                received.append(json.loads(body))
                self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(Exception, match="400"):
            emit()
        assert len(received) == 3
        assert emit() == 7
    finally:
        server.shutdown()
        server.server_close()
        # the client rewrites its variables, and leaves them
        for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
            del os.environ[name]
    assert [each["job"]["name"] for each in received] == [stage for stage in ("ingest", "transform", "train", "retention", "gate") for _ in range(2)]
    for each in received:
        conforms(each)


def test_a_row_that_was_committed_after_a_later_one_is_told_too(rows: None) -> None:
    emit()
    first = query("select min(id) as id from ops.ledger where partition_key = %s", KEY)[0]["id"]
    with connect() as connection:
        connection.execute("delete from ops.told where ledger = %s", (first,))
    assert emit() == 1
    assert told()[-1]["job"]["name"] == "ingest"


def test_every_state_of_a_real_stage_makes_an_event(database: str) -> None:
    """Whatever the ledger holds in this run: no row breaks the telling."""
    from openlineage.client.serde import Serde

    for row in query("select * from ops.ledger where state = any(%s)", ["started", "published", "done", "failed", "superseded"]):
        conforms(Serde.to_dict(event(row)))
