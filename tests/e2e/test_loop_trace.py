"""From answers back to the rows that they come from, and forth again, on what the loop has really done; every edge is walked."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from flightdeck import ledger, registry
from flightdeck.settings import settings
from flightdeck.warehouse import query
from governance.edges import EDGES, orphans
from governance.impact import impact
from governance.trace import NotFound, trace
from ml.features import FEATURES, NO_WEATHER, PLANNED, WEATHER, calendar, from_request, row
from ml.learners import load
from tests.e2e.test_loop import flightdeck

SAMPLE = "select prediction_id::text as id from ops.predictions where purpose = 'replay' order by prediction_id limit 200"


@pytest.fixture(scope="module")
def months(platform: None) -> None:
    done = flightdeck("replay", "--skip-published", "2013-01..2013-03")
    assert done.returncode == 0, done.stdout + done.stderr


def rebuilt(sources: list[dict[str, Any]], holidays: list[date]) -> list[float | None]:
    """The features of an entity from its source rows alone, by the function that answers requests."""
    rows = {each["table"]: each["row"] for each in sources}
    asked = rows["raw.flights"]
    assert all(each["row"] for each in sources)
    departure = datetime.fromisoformat(f"{asked['year']}-{asked['month']:02}-{asked['day']:02}T{asked['hour']:02}:{asked['minute']:02}")
    weather = [rows["raw.weather"][name] for name in WEATHER] if "raw.weather" in rows else NO_WEATHER
    plane = (rows["raw.planes"]["year"], rows["raw.planes"]["seats"]) if "raw.planes" in rows else (None, None)
    history = rows.get("marts.route_history")
    route = (history["flights"], history["air_time_total"]) if history else None
    planned = [rows["marts.planned_departures"][name] for name in PLANNED]
    return from_request(SimpleNamespace(**asked), calendar(departure, holidays), plane, route, planned, weather)


def test_features_and_probability_of_200_answers_are_those_of_what_their_traces_name(months: None) -> None:
    holidays = [each["day"] for each in query("select day from marts.federal_holidays order by 1")]
    models, exact = {}, 0
    for each in query(SAMPLE):
        found = trace(each["id"])
        model, prediction = found["model"], found["prediction"]
        if model["sha256"] not in models:
            models[model["sha256"]] = load({**model, "learner": model["learner"]})
        logged = found["features"]["logged"]
        made = rebuilt(found["sources"], holidays)
        assert dict(zip(FEATURES, made, strict=True)) == logged == found["features"]["built"]
        assert models[model["sha256"]].one(row(made)) == prediction["probability"]
        exact += 1
    assert exact == 200
    assert len(models) == 2


def test_a_trace_names_every_step_from_the_answer_to_the_load(months: None) -> None:
    prediction = query("select prediction_id::text as id from ops.predictions where purpose = 'replay' and partition_key = '2013-03' limit 1")[0]["id"]
    done = flightdeck("trace", prediction[:13], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prediction"]["prediction_id"] == prediction
    assert found["model"]["model_version"] == 2
    assert [move["state"] for move in found["release"]["moves"]] == ["registered", "shadow", "canary", "canary", "champion"]
    assert found["model"]["trained"]["partition_key"] == "2013-02"
    assert found["model"]["gate"]["decision"] == "promoted"
    assert registry.run(found["model"]["run_id"])["tags"]["snapshot_md5"] == found["snapshot"]["md5"]
    assert [each["key"] for each in found["snapshot"]["partitions"]] == ["2013-01", "2013-02"]
    assert found["snapshot"]["missing"] == []
    for each in found["snapshot"]["partitions"]:
        assert len(each["build"]["dbt"]["invocation"]) == 36
        assert Path(settings().dvc_remote, "files/md5", each["md5"][:2], each["md5"][2:]).is_file()
        assert set(each["ingest"]["loads"]) == {"operations", "stations", "registry"}
    assert found["snapshot"]["partitions"][1]["ingest"]["checks"]["landing_weather"]["failed"] == {"expect_column_values_to_be_between:wind_speed": 1}
    raw = {each["table"]: each for each in found["sources"]}["raw.flights"]
    assert raw["row"]["entity_id"] == found["prediction"]["entity_id"]
    assert raw["brought_by"]["stage"] == "ingest"
    shown = flightdeck("trace", prediction).stdout
    for text in (found["model"]["links"]["run"], "gate: promoted", "raw.weather", found["snapshot"]["md5"]):
        assert text in shown
    assert "\x1b[" not in shown


def test_what_is_not_there_is_not_found_with_what_is_near(months: None) -> None:
    prediction = query("select prediction_id::text as id from ops.predictions order by prediction_id limit 1")[0]["id"]
    wrong = prediction[:-1] + ("0" if prediction[-1] != "0" else "1")
    with pytest.raises(NotFound, match=f"the nearest are .*{prediction}"):
        trace(wrong)
    with pytest.raises(NotFound, match="no prediction id"):
        trace("'; drop table ops.predictions")
    done = flightdeck("trace", wrong)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no prediction")
    done = flightdeck("impact", "raw.wether")
    assert (done.returncode, "do you mean raw.weather" in done.stderr) == (1, True)
    done = flightdeck("impact", "marts.features.tmp")
    assert (done.returncode, "marts.features.temp" in done.stderr) == (1, True)
    assert flightdeck("impact", "quarantine.rows.999").returncode == 1
    done = flightdeck("impact", "raw.weather", "--partition", "2031-01")
    assert (done.returncode, "nothing has happened to partition 2031-01 yet; the nearest are" in done.stderr) == (1, True)
    assert flightdeck("impact", "raw.weather", "--partition", "february").returncode == 2


def test_impact_follows_a_partition_to_models_and_answers(months: None) -> None:
    answers = {
        each["model_version"]: each["n"] for each in query("select model_version, count(*) as n from ops.predictions where purpose <> 'probe' group by 1")
    }
    found = impact("raw.weather", "2013-02")
    assert found["partitions"] == ["2013-02", "2013-03"], "the first hours of a month look back at the last day of the one before"
    releases = [row["release"] for row in query("select outputs -> 'release' as release from ops.ledger where state = 'done' and outputs ? 'release'")]
    learned = {each["model_version"] for each in releases if {"2013-02", "2013-03"} & set(each["partitions"])}
    assert learned >= {2, 3}
    assert 1 not in learned
    assert {each["model_version"] for each in found["models"]} == learned
    assert set(found["predictions"]["by_version"]) <= learned
    assert found["predictions"]["in_all"] == sum(answers.get(version, 0) for version in learned)
    assert {each.removeprefix("marts.features.") for each in found["features"]} == set(WEATHER)
    assert {each["name"] for each in found["consumers"]} == {"late_arrival_model", "drift_reports", "lake"}
    # history is handed on, so what was looked up in February has January's in it
    carried = impact("raw.flights.air_time", "2013-01")
    assert carried["features"] == ["marts.features.route_air_time"]
    assert carried["partitions"] == ["2013-01", "2013-02", "2013-03"]
    assert (
        carried["predictions"]["looked_up"] == query("select count(*) as n from ops.predictions where history_key >= '2013-01' and purpose <> 'probe'")[0]["n"]
    )
    assert impact("raw.airlines")["models"] == []
    held = query("select id, entity_key from quarantine.rows where source_table = 'weather'")[0]
    of_row = impact(f"quarantine.rows.{held['id']}")
    assert of_row["quarantined"]["state"] == "held"
    assert (of_row["dataset"], of_row["partition"]) == ("raw.weather", "2013-02")


def test_no_edge_is_loose(months: None) -> None:
    assert orphans() == []
    done = flightdeck("trace", "--check")
    assert (done.returncode, done.stdout.startswith("no orphans")) == (0, True)


@contextmanager
def without_file(path: Path) -> Iterator[None]:
    aside = path.with_name("aside")
    path.rename(aside)
    yield
    aside.rename(path)


@contextmanager
def without_rows(table: str, where: str) -> Iterator[None]:
    """What protects tables that may only grow is off for this connection alone."""
    with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(f"create temp table kept as select * from {table} where {where}".encode())
        connection.execute(f"delete from {table} where {where}".encode())
        yield
        connection.execute(f"insert into {table} overriding system value select * from kept".encode())


def artifact() -> Path:
    release = query("select release from ops.deployments where model_version = 1 limit 1")[0]["release"]
    return Path(settings().artifacts) / release["artifact"]


def snapshot() -> Path:
    release = query("select release from ops.deployments where model_version = 1 limit 1")[0]["release"]
    md5 = release["snapshot"]["2013-01"]
    return Path(settings().dvc_remote) / "files/md5" / md5[:2] / md5[2:]


LEDGER = "ops.ledger", "stage = '{}' and state in ('done', 'published') and partition_key = '2013-01'"
PARENTS: dict[str, Callable[[], Any]] = {
    "prediction → release": lambda: without_rows("ops.deployments", "model_version = 1"),
    "prediction → history": lambda: without_rows(LEDGER[0], LEDGER[1].format("transform")),
    "published partition → rows": lambda: without_rows("marts.features", "partition_key = '2013-01'"),
    "release → model file": lambda: without_file(artifact()),
    "release → snapshot": lambda: without_file(snapshot()),
    "release → training": lambda: without_rows(LEDGER[0], LEDGER[1].format("train")),
    "training → verdict": lambda: without_rows(LEDGER[0], LEDGER[1].format("gate")),
    "training → build": lambda: without_rows(LEDGER[0], LEDGER[1].format("transform")),
    "build → ingestion": lambda: without_rows(LEDGER[0], LEDGER[1].format("ingest")),
    "raw row → load": lambda: without_rows(LEDGER[0], LEDGER[1].format("timetable")),
    "shadow → prediction": lambda: without_rows("ops.predictions", "prediction_id = (select shadows from ops.predictions where shadows is not null limit 1)"),
    "feature row → source rows": lambda: without_rows("raw.flights", "partition_key = '2013-01'"),
}


@pytest.mark.parametrize("edge", PARENTS)
def test_a_parent_that_is_gone_is_told(months: None, edge: str) -> None:
    with PARENTS[edge]():
        found = orphans()
    assert any(each.startswith(edge) for each in found), found
    assert orphans() == []


def test_every_kind_of_edge_has_been_broken() -> None:
    assert set(EDGES) - set(PARENTS) == set()


def test_what_was_erased_is_no_orphan(months: None) -> None:
    """An erasure deletes snapshots, and whoever follows its advice the versions that learned from them: that is no fault for ever."""
    with without_file(snapshot()):
        assert [each for each in orphans() if each.startswith("release → snapshot: version 1:")]
        attempt = ledger.begin("erase", ledger.WHOLE)
        attempt.outputs = {"retrain": sorted(each["model_version"] for each in query("select distinct model_version from ops.deployments"))}
        attempt.record("done")
        try:
            assert orphans() == []
        finally:
            with psycopg.connect(settings().database_url("flightdeck", database="warehouse"), autocommit=True) as connection:
                connection.execute("set session_replication_role = replica")
                connection.execute("delete from ops.ledger where stage = 'erase'")
    assert orphans() == []
