"""From one prediction back to the rows that it comes from: release, model, snapshot, builds, checks, loads, source rows. Each step is a row that is there."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, Row, connect

PREDICTION = "select * from ops.predictions where prediction_id between %s and %s order by prediction_id limit 2"
NEAR = """
(select prediction_id from ops.predictions where prediction_id >= %(id)s order by 1 limit 3) union all
(select prediction_id from ops.predictions where prediction_id < %(id)s order by 1 desc limit 3)"""
# a version's moves up to the answer; one that answered as a candidate has served by its own row
MOVES = "select id, at, state, share, reasons, code, partition_key, release from ops.deployments where model_version = %s and at <= %s order by id"
TRAINED = """
select * from ops.ledger where stage = 'train' and state = 'done' and outputs -> 'release' ->> 'sha256' = %s
order by (outputs -> 'release' ->> 'model_version')::int = %s desc, id desc limit 1"""
JUDGED = "select * from ops.ledger where stage = %s and partition_key = %s and state = 'done' and id > %s order by id limit 1"
ATTEMPTS = """
select partition_key, stage, attempt, id, at, code, inputs, facts from ops.ledger
where stage = %s and state = 'published' and (partition_key, attempt) in (select * from unnest(%s::text[], %s::int[])) order by partition_key"""
LOADS = (
    "select id, at, stage, partition_key, attempt, code from ops.ledger where stage in ('ingest', 'timetable') and state = 'published' and inputs ->> %s = %s"
)
SOURCES = "select * from marts.source_rows where entity_id = %s order by source_table, source_key::text"
CONTRACTED = ("partition_key", "stage", "attempt", "at", "code")


class NotFound(LookupError):
    """Nothing has this name; the message has near matches."""


def trace(name: str) -> dict[str, Any]:
    """All that a prediction comes from, by its id or the beginning of it (8 digits or more). Raises NotFound.

    {"prediction", "features": {"logged", "built", "different"}, "release", "model", "snapshot": {"md5", "partitions": [...]}, "sources": [...]}; what is not
    there (yet) is null, like the built features of what has not happened.
    """
    with connect() as connection:
        prediction = _prediction(connection, name)
        moves = connection.execute(MOVES, (prediction["model_version"], prediction["logged_at"])).fetchall()
        release = moves[-1]["release"] if moves else None
        trained = connection.execute(TRAINED, (release["sha256"], prediction["model_version"])).fetchone() if release else None
        return {
            "prediction": {key: value for key, value in prediction.items() if key != "features"} | {"prediction_id": str(prediction["prediction_id"])},
            "features": _features(connection, prediction),
            "release": release and _release(moves, release),
            "model": release and _model(connection, release, trained),
            "snapshot": release and _snapshot(connection, release, trained),
            "sources": [_source(connection, each) for each in connection.execute(SOURCES, (prediction["entity_id"],))],
        }


def _prediction(connection: Connection, name: str) -> Row:
    digits = name.replace("-", "").lower()
    if len(digits) < 8 or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
        raise NotFound(f"{name!r} is no prediction id: those are UUIDs, as POST /predict answers them; 8 of their digits will do")
    low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    found = connection.execute(PREDICTION, (low, high)).fetchall()
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"more than one prediction begins with {name}: {found[0]['prediction_id']}, {found[1]['prediction_id']}; give more digits")
    near = sorted((str(row["prediction_id"]) for row in connection.execute(NEAR, {"id": low})), key=lambda each: -_alike(each, str(low)))
    told = f"; the nearest are {', '.join(near[:2])}" if near else "; the log is empty"
    raise NotFound(f"no prediction {name} in the log{told}. What was answered in the last seconds may be on its way")


def _alike(one: str, other: str) -> int:
    """How many first letters are the same."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _features(connection: Connection, prediction: Row) -> dict[str, Any]:
    """What was logged, beside what was built of the same entity since, and the names of those that differ."""
    logged = prediction["features"]
    row = connection.execute("select to_jsonb(f) as built from marts.features f where entity_id = %s", (prediction["entity_id"],)).fetchone()
    built = row and {name: row["built"][name] for name in logged if name in row["built"]}
    different = [name for name, value in built.items() if value != logged[name]] if built else []
    return {"logged": logged, "built": built, "different": different}


def _release(moves: list[Row], release: dict[str, Any]) -> dict[str, Any]:
    told = ("id", "at", "state", "share", "reasons", "code", "partition_key")
    return {"sha256": release["sha256"], "moves": [{name: move[name] for name in told} for move in moves]}


def _model(connection: Connection, release: dict[str, Any], trained: Row | None) -> dict[str, Any]:
    name, experiment = parameters()["model"]["name"], release["artifact"].partition("/")[0]
    links = {"run": f"{settings().public_url('mlflow')}/#/experiments/{experiment}/runs/{release['run_id']}"}
    links["version"] = f"{settings().public_url('mlflow')}/#/models/{name}/versions/{release['model_version']}"
    found = {"name": name, **{key: release[key] for key in ("model_version", "run_id", "artifact", "code", "learner", "sha256")}, "links": links}
    found["trained"] = trained and {key: trained[key] for key in CONTRACTED}
    for stage in ("gate", "approve"):
        row = connection.execute(JUDGED, (stage, trained["partition_key"], trained["id"])).fetchone() if trained else None
        found[stage] = row and {"attempt": row["attempt"], "at": row["at"], **{key: row["facts"].get(key) for key in ("decision", "reasons", "approved", "by")}}
    return found


def _snapshot(connection: Connection, release: dict[str, Any], trained: Row | None) -> dict[str, Any]:
    """The snapshot by DVC's md5, and each of its partitions: its build, its checks, its loads."""
    wanted = trained["inputs"].get("transform", {}) if trained else {}
    builds = connection.execute(ATTEMPTS, ("transform", list(wanted), list(wanted.values()))).fetchall()
    ingested = {build["partition_key"]: build["inputs"]["ingest"] for build in builds}
    loads = {row["partition_key"]: row for row in connection.execute(ATTEMPTS, ("ingest", list(ingested), list(ingested.values())))}
    files = release.get("snapshot", {})
    partitions = [_partition(build, loads.get(build["partition_key"])) | {"md5": files.get(build["partition_key"])} for build in builds]
    return {"md5": release["snapshot_md5"], "partitions": partitions, "missing": sorted(set(release["partitions"]) - {each["key"] for each in partitions})}


def _partition(build: Row, ingest: Row | None) -> dict[str, Any]:
    facts, key = build["facts"], build["partition_key"]
    dbt = {name: facts.get(name) for name in ("invocation", "rows", "tests", "warnings")}
    found = {"key": key, "build": {**{name: build[name] for name in CONTRACTED}, "dbt": dbt, "checks": checks(facts)}}
    found["links"] = {"dbt": f"{settings().public_url('reports')}/dbt/", "checks": f"{settings().public_url('reports')}/data-docs/"}
    if ingest:
        sources = {name: value for name, value in ingest["inputs"].items() if name != "as_of"}
        found["ingest"] = {
            **{name: ingest[name] for name in CONTRACTED},
            "as_of": ingest["inputs"]["as_of"],
            "loads": sources,
            "checks": checks(ingest["facts"]),
        }
    return found


def checks(facts: dict[str, Any]) -> dict[str, Any]:
    """{table: {"expectations", "failed"}} of what was checked."""
    return {name.removeprefix("checked_"): value for name, value in facts.items() if name.startswith("checked_")}


def _source(connection: Connection, found: Row) -> dict[str, Any]:
    """A row that something was made of, as it is now, and the load and the attempt that brought it."""
    table = sql.SQL(".").join(map(sql.Identifier, found["source_table"].split(".")))
    same = sql.SQL(" and ").join(sql.SQL("t.{0} = k.{0}").format(sql.Identifier(name)) for name in found["source_key"])
    query = sql.SQL("select to_jsonb(t) as content from {0} t, jsonb_populate_record(null::{0}, %s::jsonb) k where {1}").format(table, same)
    row = connection.execute(query, (Jsonb(found["source_key"]),)).fetchone()
    brought = connection.execute(LOADS, (found["source"], found["load_id"])).fetchone() if found["load_id"] else None
    return {
        "table": found["source_table"],
        "key": found["source_key"],
        "load_id": found["load_id"],
        "loaded_at": found["load_id"] and datetime.fromtimestamp(float(found["load_id"]), UTC),
        "brought_by": brought and {name: brought[name] for name in CONTRACTED},
        "row": row and row["content"],
    }
