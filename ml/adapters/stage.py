"""The ledger's stage `train` where another tool trains. An Airflow task calls `train` here in the place of the one in ml/pipeline.py:

    from ml.adapters.stage import train

    train("on_metaflow", dag_run.partition_key)

The tool runs in its own environment, the setting `adapter_python`. Both meet in MLflow: the run that has the attempt's number is the answer.
"""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flightdeck import launch, ledger, registry
from flightdeck.settings import ROOT, settings
from ml.pipeline import take_up
from ml.tracking import DRAFT, TRAINING, connect, experiment_name

log = logging.getLogger("flightdeck.stages")
# what ends a traceback, wherever a tool prints it
RAISED = re.compile(r"\w+(?:Error|Exception): .*|(?:\w+\.)+[A-Z]\w+: .*")


class NotTrained(RuntimeError):
    """The tool did not end well, or has left no run; the message says which errors it told, the log has all that it told."""


def train(flow: str, key: str | None) -> None:
    """Where `decide` asked for it, have `flow`, a module of this folder, train a challenger; the gate judges it like any other."""

    @ledger.once("train")
    def elsewhere(attempt: ledger.Attempt) -> None:
        asked = ledger.last("decide", attempt.key)
        if asked is None or not asked["facts"]["retrain"]:
            attempt.facts = {"skipped": True, "reasons": asked["facts"]["reasons"] if asked else ["nobody decided on it"]}
            return
        run(flow, attempt.key, str(attempt.number))
        draft = trained(attempt.key, str(attempt.number))
        place = f"{draft['artifact'].split('/')[0]}/{draft['run_id']}/artifacts"
        read = yaml.safe_load(registry.artifact(f"{place}/params.yaml"))["snapshot"]["partitions"]
        attempt.inputs["transform"] = {partition: wanted["attempt"] for partition, wanted in read.items()}
        take_up(attempt, draft)
        attempt.facts |= {"trained_by": flow, "dvc_lock_sha256": hashlib.sha256(registry.artifact(f"{place}/dvc.lock")).hexdigest()}

    elsewhere(key)


def run(flow: str, key: str, attempt: str) -> None:
    """Run the flow to its end, its own records in a folder of the state folder; raises NotTrained."""
    python = settings().adapter_python or sys.executable
    folder = settings().home / flow
    folder.mkdir(exist_ok=True, mode=0o700)
    # some tools ask who runs them, and a container's user may have no name
    surroundings = os.environ | launch.common() | {"PYTHONPATH": str(ROOT), "USERNAME": "flightdeck"}
    surroundings["PATH"] = f"{Path(python).parent}:{surroundings['PATH']}"
    command = [python, str(Path(__file__).with_name(f"{flow}.py")), "run", "--key", key, "--attempt", attempt]
    done = subprocess.run(command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        log.error("%s", done.stdout)
        told = list(dict.fromkeys(RAISED.findall(done.stdout))) or done.stdout.splitlines()[-5:]
        raise NotTrained(f"{flow} of {key}, attempt {attempt}: exit code {done.returncode}: {'; '.join(told)[-1500:]}")


def trained(key: str, attempt: str) -> dict[str, Any]:
    """The draft of the release that a finished run of this attempt has logged; raises NotTrained."""
    client = connect()
    experiment = client.get_experiment_by_name(experiment_name(TRAINING))
    wanted = f"tags.partition_key = '{key}' and tags.attempt = '{attempt}' and attributes.status = 'FINISHED'"
    found = client.search_runs([experiment.experiment_id], wanted, max_results=1) if experiment else []
    if not found:
        raise NotTrained(f"{key}, attempt {attempt}: the tool has ended, and MLflow has no finished run of it")
    draft: dict[str, Any] = json.loads(registry.artifact(f"{experiment.experiment_id}/{found[0].info.run_id}/artifacts/{DRAFT}"))
    return draft
