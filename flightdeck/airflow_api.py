"""Airflow over its REST API: start a partition's run, and see which runs failed and why."""

import re
from dataclasses import dataclass
from typing import Any

import httpx

from flightdeck.settings import settings


class AirflowError(RuntimeError):
    """Airflow refused or did not answer; the message carries its words."""


@dataclass(frozen=True)
class FailedTask:
    dag: str
    run: str
    task: str
    tries: int
    key: str


class Airflow:
    """A signed-in client."""

    def __init__(self) -> None:
        self._client = httpx.Client(base_url=settings().url("airflow"), timeout=30)
        body = {"username": "admin", "password": settings().secret("airflow_admin")}
        token = self._call("POST", "/auth/token", json=body)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise AirflowError(f"Airflow, {method} {path}: {error}") from error
        if answer.is_error:
            raise AirflowError(f"Airflow, {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def dags(self) -> set[str]:
        return {dag["dag_id"] for dag in self._call("GET", "/api/v2/dags")["dags"]}

    def import_errors(self) -> list[str]:
        return [f"{entry['filename']}: {entry['stack_trace'].strip().splitlines()[-1]}" for entry in self._call("GET", "/api/v2/importErrors")["import_errors"]]

    def trigger(self, dag: str, key: str) -> str:
        """Start a run of `dag` for a partition; returns its run id."""
        body = {"logical_date": None, "partition_key": key}
        return str(self._call("POST", f"/api/v2/dags/{dag}/dagRuns", json=body)["dag_run_id"])

    def active(self) -> set[str]:
        """The partition keys that have a run which is queued or running."""
        runs = self._call("GET", "/api/v2/dags/~/dagRuns", params={"state": ["queued", "running"], "limit": 100})["dag_runs"]
        return {run["partition_key"] for run in runs}

    def newest(self, dag: str) -> dict[str, str]:
        """{partition key: state of its newest run of `dag`}."""
        runs = self._call("GET", f"/api/v2/dags/{dag}/dagRuns", params={"order_by": "-run_after", "limit": 100})["dag_runs"]
        return {run["partition_key"]: run["state"] for run in reversed(runs)}

    def said(self, dag: str, run: str, task: str) -> str:
        """What the scheduler wrote down of a task, the newest first: of one that never ran, the only word on why."""
        asked = {"dag_id": dag, "run_id": run, "task_id": task, "order_by": "-when", "limit": 20}
        entries = self._call("GET", "/api/v2/eventLogs", params=asked)["event_logs"]
        words = [re.sub(r"HTTP response headers:.*\n", "", entry["extra"]) for entry in entries if entry["extra"]]
        return "; ".join(dict.fromkeys(words)) or "Airflow has no word on it"

    def failed(self, since: str, keys: list[str]) -> list[FailedTask]:
        """The failed tasks of runs of these partitions that failed since then (ISO 8601)."""
        runs = self._call("GET", "/api/v2/dags/~/dagRuns", params={"state": "failed", "end_date_gte": since, "limit": 100})["dag_runs"]
        tasks = []
        for run in (run for run in runs if run["partition_key"] in keys):
            path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances"
            for task in self._call("GET", path, params={"state": "failed"})["task_instances"]:
                tasks.append(FailedTask(run["dag_id"], run["dag_run_id"], task["task_id"], task["try_number"], run["partition_key"]))
        return tasks
