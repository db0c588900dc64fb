"""The DAGs as Airflow sees them: they load, retry, chain by assets, stay light, and wait for recorded facts."""

import asyncio
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flightdeck.launch import airflow_environment
from flightdeck.settings import ROOT

# it comes before the look at the settings, which it changes
pytestmark = pytest.mark.usefixtures("database")
NAMES = ["canary", "deploy", "ingest", "lineage", "monitor", "retention", "timetable", "train", "transform", "world"]
HEAVY = ["dlt", "dbt", "great_expectations", "mlflow", "evidently", "lightgbm", "pandas", "sklearn", "dvc", "bentoml"]
# One process for all: what a file brings in is what is new after it.
READ = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
folder, heavy = Path(sys.argv[1]), set(json.loads(sys.argv[2]))
brought, before = {}, heavy & set(sys.modules)
for path in sorted(folder.glob("[a-z]*.py")):
    DagBag(dag_folder=path)
    brought[path.stem] = sorted(heavy & set(sys.modules) - before)
bag = DagBag(dag_folder=folder)
dags = {
    dag.dag_id: {
        "tags": sorted(dag.tags), "doc": dag.doc_md, "catchup": dag.catchup, "asset": getattr(getattr(dag.timetable, "asset_condition", None), "name", None),
        "schedule": type(dag.timetable).__name__,
        "tasks": {
            task.task_id: {"retries": task.retries, "outlets": [asset.name for asset in task.outlets], "after": sorted(task.upstream_task_ids)}
            for task in dag.tasks
        },
    }
    for dag in bag.dags.values()
}
Path(sys.argv[3]).write_text(json.dumps({"errors": bag.import_errors, "brought": brought, "dags": dags}))
"""


@pytest.fixture(scope="module")
def found(home: Path) -> dict[str, Any]:
    """What Airflow reads from the folder, in a process of its own."""
    target = home / "dags.json"
    command = [sys.executable, "-c", READ, str(ROOT / "dags"), json.dumps(HEAVY), str(target)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | airflow_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(target.read_text())
    return read


def test_all_dags_load(found: dict[str, Any]) -> None:
    assert found["errors"] == {}
    assert sorted(found["dags"]) == NAMES


def test_each_task_retries_and_each_dag_says_what_it_does(found: dict[str, Any]) -> None:
    assert found["dags"]
    for name, dag in found["dags"].items():
        assert dag["tasks"], name
        assert min(task["retries"] for task in dag["tasks"].values()) >= 1, name
        assert dag["tags"], name
        assert dag["doc"].startswith(f"{name}: "), name
        # without this, a run for each month since 2013 would start as soon as the DAG is seen
        assert dag["catchup"] is False, name


def test_assets_chain_the_dags(found: dict[str, Any]) -> None:
    producers = {asset: name for name, dag in found["dags"].items() for task in dag["tasks"].values() for asset in task["outlets"]}
    chain = {(producers[dag["asset"]], dag["asset"], name) for name, dag in found["dags"].items() if dag["asset"]}
    assert chain == {
        ("ingest", "raw", "transform"),
        ("transform", "marts", "monitor"),
        ("monitor", "decision", "train"),
        ("train", "verdict", "deploy"),
    }
    schedules = {name: dag["schedule"] for name, dag in found["dags"].items()}
    assert {name for name, kind in schedules.items() if kind == "CronPartitionTimetable"} == {"ingest", "timetable", "world"}
    assert {name for name, kind in schedules.items() if kind == "PartitionedAssetTimetable"} == {"transform", "monitor", "train", "deploy"}


def test_an_asset_comes_out_of_the_last_task_that_its_consumer_needs(found: dict[str, Any]) -> None:
    followers = {
        name: sorted(other for other, each in dag["tasks"].items() if task in each["after"])
        for name, dag in found["dags"].items()
        for task, entry in dag["tasks"].items()
        if entry["outlets"]
    }
    assert followers == {"ingest": [], "transform": ["deliver", "rebuild_next"], "monitor": [], "train": []}


def test_tasks_run_in_the_order_of_the_design(found: dict[str, Any]) -> None:
    after = {name: {task: entry["after"] for task, entry in dag["tasks"].items()} for name, dag in found["dags"].items()}
    assert after == {
        "world": {"await_earlier": [], "requests": ["await_earlier"]},
        "timetable": {"load": [], "check": ["load"], "publish": ["check"], "plan": ["publish"]},
        "ingest": {"load": [], "reopen_changed": ["load"], "check": ["load"], "publish": ["check", "reopen_changed"]},
        "transform": {
            "await_earlier": [], "build": ["await_earlier"], "check": ["build"], "publish": ["check"], "rebuild_next": ["publish"], "deliver": ["publish"],
        },
        "monitor": {
            "await_earlier": [], "await_answers": [], "drift": ["await_earlier"], "measure": ["await_answers", "drift"], "decide": ["measure"],
        },
        "train": {"await_partitions": [], "train": ["await_partitions"], "gate": ["train"]},
        "deploy": {"deploy": []},
        "canary": {"sing": []},
        "retention": {"retain": []},
        "lineage": {"emit": []},
    }  # fmt: skip


def test_a_dag_file_brings_in_nothing_heavy(found: dict[str, Any]) -> None:
    assert found["brought"] == {name: [] for name in NAMES}


@pytest.fixture
def orchestration(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with Airflow set up by the tests' environment; the ledger knows January as unfinished, and that `requests` has ended."""
    for name, value in airflow_environment().items():
        monkeypatch.setenv(name, value)
    from flightdeck import ledger, orchestration

    now = SimpleNamespace(
        unfinished_before=lambda stage, key: ["2013-01"] if (stage, key) == ("deploy", "2013-02") else [],
        reopened=lambda up_to: [key for key in ("2013-03", "2013-05") if key <= up_to],
        has_ended=lambda stage, key: stage == "requests",
    )
    monkeypatch.setattr(ledger, "standing", lambda: now)
    monkeypatch.setattr(orchestration, "_seen", {"at": -math.inf})
    return orchestration


def test_missing_names_earlier_partitions_and_own_stages(orchestration: Any) -> None:
    assert orchestration.missing("deploy", ["requests", "transform"], "2013-02") == ["deploy of 2013-01", "transform of 2013-02"]
    assert orchestration.missing("deploy", ["requests"], "2013-01") == []


def test_missing_names_partitions_that_were_reopened(orchestration: Any) -> None:
    assert orchestration.missing("deploy", ["requests"], "2013-03") == []
    assert orchestration.missing("deploy", ["requests"], "2013-05") == ["transform of 2013-03"]
    # who reads the partition itself waits for it, too
    assert orchestration.missing("transform", ["requests", "transform"], "2013-05")[:2] == ["transform of 2013-03", "transform of 2013-05"]


def _fired(trigger: Any) -> list[Any]:
    async def fire() -> list[Any]:
        return [event async for event in trigger.run()]

    return asyncio.run(fire())


def test_waiting_ends_when_nothing_is_missing_any_more(orchestration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [["deploy of 2013-01"], []]
    monkeypatch.setattr(orchestration, "missing", lambda earlier, own, key: answers.pop(0))
    path, arguments = orchestration.LedgerTrigger("deploy", ["requests"], "2013-02").serialize()
    assert path == "flightdeck.orchestration.LedgerTrigger"

    [event] = _fired(orchestration.LedgerTrigger(**arguments))
    assert type(event).__name__ == "TaskSuccessEvent"
    assert answers == []


def test_dozens_that_wait_share_a_look_at_the_ledger(orchestration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    now = SimpleNamespace(unfinished_before=lambda stage, key: [], reopened=lambda up_to: [], has_ended=lambda stage, key: True)
    monkeypatch.setattr(orchestration, "FRESH", 60)
    monkeypatch.setattr("flightdeck.ledger.standing", lambda: looks.append(1) or now)
    for number in range(40):
        assert orchestration.missing("deploy", ["requests"], f"2013-{number % 12 + 1:02}") == []
    assert looks == [1]


def test_a_task_waits_without_a_worker(orchestration: Any) -> None:
    """The scheduler hands it to the triggerer at once, which fills in the run's key."""
    task = orchestration.AwaitLedger(task_id="await_earlier", earlier="deploy", own=["requests"])
    assert task.start_from_trigger
    assert task.start_trigger_args.trigger_cls == "flightdeck.orchestration.LedgerTrigger"
    assert task.start_trigger_args.trigger_kwargs == {"earlier": "deploy", "own": ["requests"], "key": "{{ dag_run.partition_key }}"}
    assert "key" in task.template_fields
    assert orchestration.LedgerTrigger(**task.start_trigger_args.trigger_kwargs).key == "{{ dag_run.partition_key }}"


def test_without_a_scheduler_a_task_waits_once_and_then_ends(orchestration: Any) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    task = orchestration.AwaitLedger(task_id="await_earlier", earlier="deploy")
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    assert deferred.value.method_name == "execute"
    assert task.execute({}, event="success") is None


def test_a_key_that_is_no_month_is_refused_before_any_waiting(orchestration: Any) -> None:
    from flightdeck.partitions import InvalidPartition

    with pytest.raises(InvalidPartition, match="2013-1"):
        _fired(orchestration.LedgerTrigger("deploy", [], "2013-1"))


def test_what_a_task_could_not_say_itself_is_in_the_ledger(database: str, orchestration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightdeck import airflow_api, ledger, warehouse

    class Told:
        def said(self, *asked: str) -> str:
            return f"no room for {'/'.join(asked)}"

    monkeypatch.setattr(airflow_api, "Airflow", Told)
    instance = SimpleNamespace(dag_id="test_unseen", run_id="run", task_id="build")
    context = {"ti": instance, "dag_run": SimpleNamespace(partition_key="2033-01")}
    ledger.begin("test_unseen", "2033-01")
    orchestration.tell_ledger(context)
    # one that ended with an exception has said so, and a run of no partition has no row
    orchestration.tell_ledger(context | {"exception": ValueError("known")})
    orchestration.tell_ledger(context | {"dag_run": SimpleNamespace(partition_key=None)})
    rows = warehouse.query("select attempt, state, facts ->> 'error' as error from ops.ledger where stage = 'test_unseen' order by id")
    assert [(row["attempt"], row["state"], row["error"]) for row in rows] == [
        (1, "started", None),
        (1, "failed", "build did not run to its end: no room for test_unseen/run/build"),
    ]


@pytest.mark.parametrize("on", [True, False])
def test_a_person_is_asked_only_where_the_parameters_say_so(orchestration: Any, monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    monkeypatch.setattr(orchestration, "parameters", lambda: {"gate": {"approval": on}})
    assert [task.task_id for task in orchestration.approval()] == (["approve"] if on else [])


@pytest.mark.parametrize(("chosen", "approved"), [("approve", True), ("reject", False)])
def test_a_promotion_is_asked_for_and_the_answer_is_a_row_of_the_ledger(database: str, monkeypatch: pytest.MonkeyPatch, chosen: str, approved: bool) -> None:
    for name, value in airflow_environment().items():
        monkeypatch.setenv(name, value)
    from airflow.providers.standard.operators.hitl import HITLOperator

    from flightdeck import ledger
    from flightdeck.approval import AskForApproval

    key = "1979-01" if approved else "1979-02"
    task, context = AskForApproval(task_id="approve"), {"dag_run": SimpleNamespace(partition_key=key)}
    # what stands between the two is Airflow's own: the question in its database, the answer by its API
    monkeypatch.setattr(HITLOperator, "execute", lambda self, context: self.subject + "\n" + self.body)
    ledger.Attempt("gate", key, 1, {"challenger": 4}, {}, {"decision": "refused", "reasons": ["worse"], "approval": False}).record("done")
    assert task.execute(context) is None
    ledger.Attempt("gate", key, 2, {"challenger": 5}, {}, {"decision": "promoted", "reasons": ["better"], "approval": True}).record("done")
    assert task.execute(context) == f"Deploy version 5 from {key} on?\n- better"
    task.execute_complete(
        context,
        {"chosen_options": [chosen], "params_input": {}, "responded_at": datetime(2026, 1, 1, tzinfo=UTC), "responded_by_user": {"id": "1", "name": "ann"}},
    )
    row = ledger.last("approve", key)
    assert row is not None
    assert row["facts"] == {"gate": 2, "approved": approved, "by": "ann"}
