"""What the service counts of itself, as Prometheus metrics: each worker its own, added up when they are read.

BentoML's own are off: they count by the path that was asked for, whatever that is, and cost a quarter of a request's time.
"""

import os
from functools import lru_cache
from pathlib import Path

import psutil
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

REQUESTS = Histogram("flightdeck_request_seconds", "Time from a request's headers to its answer", ["route", "model_version"], buckets=SECONDS)
REFUSED = Counter(
    "flightdeck_refused_total", "Requests that were not answered with predictions, by their error, while a version served", ["route", "error", "model_version"]
)
PREDICTIONS = Counter("flightdeck_predictions_total", "Predictions given", ["model_version", "purpose"])
OUT_OF_RANGE = Counter("flightdeck_values_out_of_range_total", "Optional values of requests that were out of range, and counted as missing")
NAMELESS = Counter("flightdeck_askers_not_kept_total", "Requests whose subject was not kept, since the vault of pseudonyms did not answer")
FAILED = Counter("flightdeck_candidate_failures_total", "Answers that a candidate could not give; the champion gave them", ["model_version"])
DROPPED = Counter("flightdeck_shadow_dropped_total", "Predictions that were not shadowed, since the shadow was behind")
BACKLOG = Gauge("flightdeck_log_backlog_bytes", "Of a log, what is not in the warehouse yet", ["table"], multiprocess_mode="livesum")
UNTAKEN = Gauge("flightdeck_log_refused_lines", "Lines of a log that the warehouse refused; they are in refused.txt", ["table"], multiprocess_mode="livesum")
WINDOW_ROWS = Gauge("flightdeck_window_rows", "Of a worker's last answers, those of the newest release", multiprocess_mode="livemax")
INPUT_PSI = Gauge(
    "flightdeck_input_psi", "Of the last answers' inputs, how far a feature is from what the model was trained on", ["feature"], multiprocess_mode="livemax"
)
INPUT_MISSING = Gauge("flightdeck_input_missing_share", "Of the last answers' inputs, the share without this feature", ["feature"], multiprocess_mode="livemax")
INPUT_MISSING_BEFORE = Gauge(
    "flightdeck_input_missing_share_trained",
    "Of what the model was trained on, the share without this feature",
    ["feature"],
    multiprocess_mode="livemostrecent",
)
ANSWER_PSI = Gauge("flightdeck_answer_psi", "How far the last answers are from those to what the model was trained on", multiprocess_mode="livemax")
ANSWERS = Gauge("flightdeck_answer_quantile", "Below which this share of the last answers lie", ["quantile"], multiprocess_mode="livemostrecent")
PROBLEM = Gauge("flightdeck_serving_problem", "1 while the service goes on with what it has, though this is wrong", ["of"], multiprocess_mode="livemax")


@lru_cache
def answered(route: str, version: str, purpose: str) -> tuple[Histogram, Counter]:
    """The series that each answer counts in: to look them up by their labels takes as long as to count."""
    return REQUESTS.labels(route, version), PREDICTIONS.labels(version, purpose)


def exposition() -> bytes:
    """The metrics of all workers that share BentoML's folder for them; of this process where there is none."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest(REGISTRY)
    # what a killed worker still had open is nobody's any more
    for pid in {int(path.stem.rpartition("_")[2]) for path in Path(folder).glob("gauge_live*.db")}:
        if not psutil.pid_exists(pid):
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
