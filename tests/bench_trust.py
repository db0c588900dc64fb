"""How long the ledger takes to answer, on the stack that is up: whole commands, from the shell's side. Prints JSON. Run by tests/bench.py."""

import json
import subprocess
import sys
import time
from statistics import median

from flightdeck.warehouse import query

ROUNDS = 7
SAMPLE = "select prediction_id::text as id from ops.predictions where purpose = 'replay' order by prediction_id limit %s"
QUESTIONS = ["raw.weather", "raw.flights.air_time", "marts.features.temp"]


def seconds(*arguments: str) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "flightdeck.cli", *arguments], check=True, capture_output=True)
    return time.monotonic() - begun


def main() -> None:
    answers = [row["id"] for row in query(SAMPLE, ROUNDS)]
    newest = query("select max(partition_key) as key from ops.published")[0]["key"]
    count = query("select count(*) as n from ops.predictions")[0]["n"]
    # the first reads the dbt project
    seconds("impact", QUESTIONS[0])
    traced = [seconds("trace", each) for each in answers]
    touched = [seconds("impact", each, "--partition", key) for each in QUESTIONS for key in ("2013-01", newest)]
    figures = {
        "trace_seconds": (median(traced), "s", f"flightdeck trace of a prediction, the whole command; {count:,} predictions in the log"),
        "impact_seconds": (median(touched), "s", "flightdeck impact of a table or column of a partition, the whole command"),
        "trace_check_seconds": (seconds("trace", "--check"), "s", "flightdeck trace --check: every edge of the ledger"),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
