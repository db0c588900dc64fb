"""Two real months through the running stack, as `make demo` sends them; then what a month done again, and a broken source, do to it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flightdeck.settings import settings
from flightdeck.warehouse import query
from world.__main__ import main as world

KEYS = ["2013-01", "2013-02"]
STAGES = {"timetable", "plan", "requests", "ingest", "transform", "deliver", "drift", "estimate", "monitor", "decide", "train", "gate", "deploy"}
# everything that a month done again must leave as it is; load ids are of the load, not of the data
CONTENT = {
    "raw.flights": "select count(*), sum(hashtextextended((to_jsonb(t) - '_dlt_load_id')::text, 0)) from raw.flights t",
    "raw.timetable": "select count(*), sum(hashtextextended((to_jsonb(t) - '_dlt_load_id')::text, 0)) from raw.timetable t",
    "raw.weather": "select count(*), sum(hashtextextended((to_jsonb(t) - '_dlt_load_id')::text, 0)) from raw.weather t",
    "quarantine": "select count(*), sum(hashtextextended((row - '_dlt_load_id')::text || expectation || state, 0)) from quarantine.rows",
    "planned_departures": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from marts.planned_departures t",
    "features": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from marts.features t",
    "labels": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from marts.labels t",
    "route_history": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from marts.route_history t",
    "predictions": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from ops.predictions t",
    "deployments": "select count(*), sum(hashtextextended(to_jsonb(t)::text, 0)) from ops.deployments t",
    "published": "select count(*), sum(hashtextextended(partition_key, 0)) from ops.published",
}


def flightdeck(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flightdeck.cli", *arguments], capture_output=True, text=True)


def content() -> dict[str, object]:
    return {name: query(sql.encode().decode()) for name, sql in CONTENT.items()}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def output(platform: None) -> str:
    """What the command prints."""
    done = flightdeck("replay", "--skip-published", "2013-01..2013-02")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_output_tells_progress_and_ends_with_the_table(output: str) -> None:
    lines = output.splitlines()
    for key in KEYS:
        assert {stage for stage in STAGES if any(f"{key}  {stage:9}" in line for line in lines)} == STAGES
    table = [line for line in lines if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in table] == KEYS
    assert "27,004" in table[0]
    assert "first" in table[0]
    assert "24,951" in table[1]
    assert "\x1b[" not in output, "colours are for terminals"


def test_each_stage_ended_once(output: str) -> None:
    rows = query(
        "select partition_key, stage, count(*) as n from ops.ledger where state in ('done', 'published') and partition_key = any(%s) group by 1, 2", KEYS
    )
    assert {(row["partition_key"], row["stage"]) for row in rows} == {(key, stage) for key in KEYS for stage in STAGES}
    assert {row["n"] for row in rows} == {1}


def test_learning_went_in_key_order(output: str) -> None:
    rows = query("select partition_key, stage from ops.ledger where state = 'done' and stage in ('monitor', 'deploy') order by id")
    assert [(row["stage"], row["partition_key"]) for row in rows[:4]] == [(stage, key) for key in KEYS for stage in ("monitor", "deploy")]


def test_february_was_asked_of_january_s_model(output: str) -> None:
    rows = query(
        "select partition_key, model_version, history_key, count(*) as n, count(distinct entity_id) as entities from ops.predictions"
        " where purpose = 'replay' group by 1, 2, 3"
    )
    assert [(row["partition_key"], row["history_key"], row["n"], row["entities"]) for row in rows] == [("2013-02", "2013-01", 24951, 24951)]


def test_online_features_equal_the_marts(output: str) -> None:
    """All but two flights of February: they were sent the impossible wind, which the warehouse holds in quarantine."""
    names = [row["k"] for row in query("select distinct jsonb_object_keys(features) as k from (select features from ops.predictions limit 1) one")]
    assert len(names) == 24
    rows = query(
        "select distinct p.entity_id from ops.predictions p join marts.features f using (entity_id)"
        " where exists (select from jsonb_each(p.features) o where o.value is distinct from to_jsonb(f) -> o.key)"
    )
    assert 0 < len(rows) <= 2


def test_status_keeps_its_contract(output: str) -> None:
    status = json.loads(flightdeck("status", "--json").stdout)
    assert {name: service["healthy"] for name, service in status["services"].items()} == dict.fromkeys(
        ("postgres", "airflow", "mlflow", "serving", "reports", "world"), True
    )
    january, february = (entry for entry in status["partitions"] if entry["key"] in KEYS)
    assert (january["landed"], january["raw"], january["features"], january["quarantined"]) == (27004, 27004, 27004, 0)
    assert (february["landed"], february["raw"], february["features"], february["quarantined"]) == (24951, 24951, 24951, 1)
    assert january["champion"] is None
    assert february["champion"] == january["challenger"]
    assert 0.5 < february["champion_log_loss"] < 0.65
    assert {entry["decision"] for entry in (january, february)} <= {"promoted", "refused"}
    assert all(entry["published"] and entry["retrain"] and entry["reasons"] and entry["seconds"] > 0 for entry in (january, february))


def test_history_says_what_served_when_and_how_it_came_to(output: str) -> None:
    now = json.loads(flightdeck("history", "--json").stdout)
    assert set(now) == {"served", "moves"}
    assert [move["state"] for move in now["moves"] if move["model_version"] == 1][:2] == ["registered", "champion"]
    assert (
        now["served"]["model_version"]
        == query("select model_version from ops.deployments where state = 'champion' order by id desc limit 1")[0]["model_version"]
    )
    first = next(move for move in now["moves"] if move["state"] == "champion")
    then = json.loads(flightdeck("history", "--at", first["at"].replace(" ", "T"), "--json").stdout)
    assert (then["served"]["model_version"], then["moves"][-1]["id"]) == (1, first["id"])
    assert "nothing served" in flightdeck("history", "--at", "2020-01-01").stdout
    told = flightdeck("history").stdout
    assert f"served: version {now['served']['model_version']}, sha256 {now['served']['sha256']}" in told
    wrong = flightdeck("history", "--at", "yesterday")
    assert (wrong.returncode, "expected ISO 8601" in wrong.stderr) == (2, True)


def test_a_month_done_again_changes_nothing_but_the_ledger(output: str) -> None:
    before, ledger = content(), query("select count(*) as n from ops.ledger")[0]["n"]
    done = flightdeck("replay", "2013-02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert content() == before
    attempts = query("select stage, max(attempt) as n from ops.ledger where partition_key = '2013-02' and stage <> 'replay' group by 1")
    again = ("timetable", "plan", "ingest", "transform", "deliver")
    assert {row["stage"]: row["n"] for row in attempts} == dict.fromkeys(STAGES, 1) | dict.fromkeys(again, 2)
    assert query("select count(*) as n from ops.ledger")[0]["n"] > ledger


def test_a_broken_file_stops_its_month_by_name(output: str) -> None:
    drop = settings().home / "world" / "files" / "2013-01-01" / "planes.csv"
    good, before = drop.read_text(), content()
    drop.write_text(good[: len(good) // 2])
    try:
        failed = flightdeck("replay", "2013-03")
    finally:
        drop.write_text(good)
    assert failed.returncode == 1
    for said in ("2013-03: ingest.load failed after 3 tries", "registry, file planes.csv of 2013-01-01", "log:"):
        assert said in failed.stderr
    assert Path(failed.stderr.split("log:")[1].split()[0]).exists()
    # the plan comes before the month, and the people outside ask all the same; nothing else has changed
    own = ("predictions", "raw.timetable", "planned_departures")
    assert {name: rows for name, rows in content().items() if name not in own} == {name: rows for name, rows in before.items() if name not in own}


def test_a_repair_completes_the_month_and_what_came_late_reopens_the_month_before(output: str) -> None:
    """Corrections of February, known since mid-March: who reads March finds them."""
    labels = {row["entity_id"]: row for row in query("select * from marts.labels where partition_key = '2013-02'")}
    assert CliRunner().invoke(world, ["inject", "corrections", "2013-02", "--source", "database"]).exit_code == 0
    try:
        repaired = flightdeck("replay", "--skip-published", "2013-03")
    finally:
        assert CliRunner().invoke(world, ["heal"]).exit_code == 0
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert query("select count(*) as n from raw.flights where partition_key = '2013-03'")[0]["n"] == 28834
    reopened = query("select partition_key, stage, facts from ops.ledger where state = 'reopened' and facts ? 'changed'")
    assert [(row["partition_key"], row["stage"], row["facts"]["found_by"]) for row in reopened] == [("2013-02", "ingest", "2013-03")]
    newest = {row["entity_id"]: row for row in query("select * from marts.labels where partition_key = '2013-02'")}
    changed = [entity for entity, row in newest.items() if row != labels[entity]]
    assert 0 < len(changed) <= reopened[0]["facts"]["changed"]["operations"]
    assert {query("select max(attempt) as n from ops.ledger where partition_key = '2013-02' and stage = %s", stage)[0]["n"] for stage in ("train", "gate")} == {
        1
    }
    # in the lake, too
    manifest = json.loads((settings().home / "lake" / "manifest.json").read_text())
    newest_build = query("select max(attempt) as n from ops.ledger where partition_key = '2013-02' and stage = 'transform'")[0]["n"]
    assert manifest["marts"]["labels"]["partitions"]["2013-02"]["attempt"] == newest_build


def test_an_experiment_changes_nothing_until_it_is_promoted_through_the_gate(output: str) -> None:
    key, serving = "2013-03", query("select max(id) as id from ops.deployments")
    tried = flightdeck("experiment", "--set", "train.rounds=20")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "the champion, version" in tried.stdout
    [row] = [line for line in tried.stdout.splitlines() if "rounds=20" in line and "│" in line]
    [run] = re.findall(r"\b[0-9a-f]{32}\b", row)
    assert query("select max(id) as id from ops.deployments") == serving
    promoted = flightdeck("experiment", "--promote", run)
    newest = "select inputs, outputs, facts from ops.ledger where partition_key = %s and stage = %s and state = 'done' order by id desc limit 1"
    trained, verdict = query(newest, key, "train")[0], query(newest, key, "gate")[0]
    version = trained["outputs"]["release"]["model_version"]
    assert (trained["inputs"]["experiment"], set(trained["inputs"]["transform"])) == (run, {*KEYS, key})
    assert verdict["inputs"]["challenger"] == version
    assert promoted.returncode == (0 if verdict["facts"]["decision"] == "promoted" else 1), promoted.stdout + promoted.stderr
    assert verdict["facts"]["reasons"][0] in promoted.stdout
    assert (query("select max(id) as id from ops.deployments") == serving) == (verdict["facts"]["decision"] == "refused")
