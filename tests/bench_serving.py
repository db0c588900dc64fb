"""How fast one worker of the service answers, beside the same model served by hand, and by MLflow; on the stack that is up. Prints JSON.

Run by tests/bench.py. The servers are all up, and are asked in turns, each round one after the other: a ratio is the median of the rounds' ratios.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from flightdeck import deployments
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from ml.features import FEATURES
from ml.tracking import connect as sign_in
from serving.workers import await_workers
from tests.sandbox import free_ports, workers
from world.requests import batches

ROUNDS, SECONDS, CONNECTIONS = 5, 4.0, 16
OTHER = "select release from ops.deployments where state = 'champion' and model_version <> %s order by id desc limit 1"
Found = dict[str, Any]


@contextmanager
def server(command: list[str], port: int, path: str) -> Iterator[int]:
    # MLflow looks for its server's command there
    path_too = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | path_too)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def asked(port: int, path: str, bodies: list[bytes], connections: int = CONNECTIONS) -> Found:
    """One round, from a process of its own."""
    command = [sys.executable, "-m", "tests.load", str(port), path, str(SECONDS), str(connections)]
    done = subprocess.run(command, input=b"\n".join(bodies), stdout=subprocess.PIPE, check=True)
    found: Found = json.loads(done.stdout)
    if set(found["statuses"]) != {"200"}:
        raise AssertionError(f"port {port}: {found['statuses']}")
    return found


def batch(port: int, bodies: list[bytes]) -> Found:
    before = worker_seconds()
    found = asked(port, "/predict", bodies, connections=2)
    return found | {"a_core": found["statuses"]["200"] * 1000 / (worker_seconds() - before)}


def worker_seconds() -> float:
    """Of a processor, that the service's worker has used."""
    return sum(each.cpu_times().user + each.cpu_times().system for each in workers(str(settings().home)))


def rolled_back() -> float:
    """Seconds from the word until every worker serves the version before, and the same forward again; the slower of the two."""
    took = []
    for _ in range(2):
        begun = time.monotonic()
        _, _, row = deployments.roll_back(None, "measured")
        with connect() as connection:
            await_workers(connection, row)
        took.append(time.monotonic() - begun)
    return max(took)


def reloaded() -> float:
    """Seconds from the record of another release until every worker serves it, and the same back again; the slower of the two."""
    took = list[float]()
    with connect() as connection:
        for _ in range(2):
            champion = deployments.champion()
            assert champion
            other = connection.execute(OTHER, (champion["model_version"],)).fetchone()
            assert other
            begun = time.monotonic()
            await_workers(connection, deployments.promote(connection, champion["partition_key"], other["release"], ["measured"]))
            took.append(time.monotonic() - begun)
    return max(took)


def main() -> None:
    sign_in()
    champion = deployments.champion()
    assert champion
    month = [instance for _, instances in batches(champion["partition_key"]) for instance in instances]
    single = [json.dumps({"instances": [each]}).encode() for each in month[:5000]]
    thousand = [json.dumps({"instances": month[at : at + 1000]}).encode() for at in range(0, 10_000, 1000)]
    frame = [json.dumps({"dataframe_split": {"columns": FEATURES, "data": [row]}}).encode() for row in champion["release"]["golden"]["rows"]]
    ports, ours = free_ports(), settings().port_serving
    model = f"models:/{parameters()['model']['name']}/{champion['model_version']}"
    with ExitStack() as servers:
        plain, constant, mlflow = next(ports), next(ports), next(ports)
        servers.enter_context(server([sys.executable, "-m", "tests.bench_servers", "plain", str(plain)], plain, "/docs"))
        servers.enter_context(server([sys.executable, "-m", "tests.bench_servers", "constant", str(constant)], constant, "/"))
        options = ["-p", str(mlflow), "--env-manager", "local", "--workers", "1"]
        servers.enter_context(server([sys.executable, "-m", "mlflow", "models", "serve", "-m", model, *options], mlflow, "/ping"))
        rounds: list[dict[str, Found]] = []
        for number in range(ROUNDS + 1):
            found = {
                "plain": asked(plain, "/predict", single),
                "ours": asked(ours, "/predict", single),
                "constant": asked(constant, "/predict", single),
                "batch": batch(ours, thousand),
                "mlflow": asked(mlflow, "/invocations", frame),
            }
            sys.stderr.write(f"{ {name: round(each['rate']) for name, each in found.items()} }\n")
            # the first is for warming up
            rounds += [found] if number else []

    def ratio(other: str, figure: str = "rate") -> float:
        return median(each["ours"][figure] / each[other][figure] for each in rounds)

    figures = {
        "serving_rps_over_fastapi": (
            ratio("plain"),
            "ratio",
            "single rows a second of one worker, log on, over FastAPI, pydantic and Booster.predict by hand, no log",
        ),
        "serving_p99_over_fastapi": (ratio("plain", "p99"), "ratio", "the same, of the 99th percentile of the time to an answer"),
        "serving_rps_over_constant": (ratio("constant"), "ratio", "the same, over an ASGI application that answers a constant"),
        "serving_rps_over_mlflow": (ratio("mlflow"), "ratio", "the same, over mlflow models serve"),
        "serving_rps": (median(each["ours"]["rate"] for each in rounds), "1/s", "single rows a second of one worker, 16 connections"),
        "batch_rows_per_second": (median(each["batch"]["a_core"] for each in rounds), "1/s", "rows a second of the worker's processor time, 1,000 a request"),
        "reload_seconds": (median(reloaded() for _ in range(5)), "s", "from the record of another release until every worker serves it"),
        "rollback_seconds": (median(rolled_back() for _ in range(5)), "s", "from the word until every worker serves the other version"),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
