"""How fast one worker of the service answers, beside the same model served by hand, and by MLflow; on the stack that is up. Prints JSON.

Run by tests/bench.py. The servers are all up, and are asked in turns, each round one after the other: a ratio is the median of the rounds' ratios.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import httpx

from flightdeck import deployments
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from ml.features import FEATURES
from ml.tracking import connect
from tests.sandbox import free_ports
from world.requests import batches

ROUNDS, SECONDS, CONNECTIONS = 5, 4.0, 16
Found = dict[str, Any]


@contextmanager
def server(command: list[str], port: int, path: str) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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


def main() -> None:
    connect()
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
                "batch": asked(ours, "/predict", thousand, connections=2),
                "mlflow": asked(mlflow, "/invocations", frame),
            }
            sys.stderr.write(f"{ {name: round(each['rate']) for name, each in found.items()} }\n")
            # the first is for warming up
            rounds += [found] if number else []
    told: dict[str, float] = {}
    for other in ("plain", "constant", "mlflow"):
        told[f"rps_over_{other}"] = median(each["ours"]["rate"] / each[other]["rate"] for each in rounds)
    told["p99_over_plain"] = median(each["ours"]["p99"] / each["plain"]["p99"] for each in rounds)
    told["rps"] = median(each["ours"]["rate"] for each in rounds)
    told["p50"], told["p99"] = (median(each["ours"][name] for each in rounds) for name in ("p50", "p99"))
    told["batch_rows"] = median(each["batch"]["rate"] for each in rounds) * 1000
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
