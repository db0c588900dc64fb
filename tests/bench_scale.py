"""`make scale`: what ten and a hundred times as many rows take, stage by stage on PostgreSQL and by engine; writes scale.json and docs/scale.svg.

python -m tests.bench_scale                        all of it
python -m tests.bench_scale warehouse              one process with the setting's size: its figures as JSON (what the whole runs)
python -m tests.bench_scale raw FOLDER TIMES       the year's raw tables as Parquet, without a warehouse
"""

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from flightdeck.partitions import span
from flightdeck.settings import ROOT, settings
from tests.bench import fresh, measured

KEYS = ["2013-01", "2013-02"]
YEAR = span("2013-01..2013-12")
# what the suites expect of a month's rows, a tenth more or less beside the setting's size
USUAL = {"landing.flights": (20_000, 40_000), "landing.timetable": (20_000, 40_000), "landing.planes": (3000, 10_000)}
FIGURE = ROOT / "docs/scale.svg"


class Watched(threading.Thread):
    """The most memory that a process and all below it have held at once, shared pages once; bytes."""

    def __init__(self, *roots: int) -> None:
        super().__init__(daemon=True)
        self.roots, self.most, self.over = roots, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            total = 0
            for root in self.roots:
                try:
                    for each in (found := psutil.Process(root), *found.children(recursive=True)):
                        total += each.memory_full_info().pss
                except psutil.Error:
                    continue
            self.most = max(self.most, total)


def watched(work: Callable[[], Any], *roots: int) -> dict[str, float]:
    """Its seconds, and the most memory in GB that these processes and all below them have held meanwhile."""
    watch, begun = Watched(*roots), time.perf_counter()
    watch.start()
    try:
        work()
    finally:
        watch.over.set()
        watch.join()
    return {"seconds": round(time.perf_counter() - begun, 2), "gb": round(watch.most / 1e9, 3)}


def stages(key: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a partition goes through, in order, whose cost grows with its rows."""
    from expectations.check import check_landing, check_marts
    from flightdeck import transform
    from flightdeck.lake import deliver
    from flightdeck.parameters import parameters
    from flightdeck.partitions import partition
    from ingestion.load import load
    from ingestion.publish import publish
    from ml.dataset import matrix, read
    from ml.features import CODES, FEATURES
    from ml.learners import learner

    knobs, made = parameters()["train"], {}

    def keep(name: str, value: Any) -> None:
        made[name] = value

    publish(check_landing(load(key, "timetable")))
    yield "plan", lambda: transform.plan(key)
    yield "ingest", lambda: keep("handed", load(key))
    yield "check", lambda: keep("handed", check_landing(made["handed"]))
    yield "publish", lambda: publish(made["handed"])
    yield "transform", lambda: keep("handed", transform.build(key))
    yield "check marts", lambda: keep("handed", check_marts(made["handed"]))
    transform.publish(made["handed"])
    yield "deliver", lambda: deliver(key)
    yield "snapshot", lambda: keep("rows", read(key, partition(key).closes.isoformat()))
    yield "fit", lambda: learner(knobs["learner"]).fit(matrix(made["rows"]), made["rows"]["label"].to_numpy(), FEATURES, CODES, knobs[knobs["learner"]])


def warehouse() -> None:
    """Two months of the setting's size in one process, all stages; prints the second month's figures as JSON."""
    from flightdeck import stack
    from flightdeck.warehouse import query
    from tests.bench_data import prepare

    told, sys.stdout = sys.stdout, sys.stderr
    prepare()
    try:
        server = int((settings().home / "run/supervisord.pid").read_text())
        figures: dict[str, Any] = {}
        for key in KEYS:
            for name, work in stages(key):
                gc.collect()
                figures[name] = watched(work, server, os.getpid())
        figures["rows"] = query("select count(*) as n from marts.features where partition_key = %s", KEYS[-1])[0]["n"]
        figures["disk_gb"] = query("select round(pg_database_size('warehouse') / 1e9, 3)::float as n")[0]["n"]
    finally:
        stack.down()
    told.write(json.dumps(figures))


def raw(folder: Path, times: int) -> None:
    """The enlarged year's raw tables as Parquet, a folder of files for each, as a warehouse would have them: for the engines that read such."""
    from flightdeck.contracts import contracts
    from ingestion.contract import arrow_types
    from world import data

    os.environ["FLIGHTDECK_WORLD_SCALE"] = str(times)
    settings.cache_clear()
    for name in contracts():
        (folder / name).mkdir(parents=True)

    def write(table: str, file: str, rows: pa.Table) -> None:
        types = arrow_types(table)
        keyed = [each for each in ("partition_key", "entity_id") if each in rows.column_names]
        columns = {each: rows[each] for each in keyed} | {each: rows[each].cast(kind) for each, kind in types.items()}
        pq.write_table(pa.table(columns | {"_dlt_load_id": pa.repeat("scale", len(rows))}), folder / table / f"{file}.parquet")

    for month in range(1, 13):
        key = f"2013-{month:02}"
        once = data.flights().filter(pc.equal(data.flights()["month"], month))
        for copy, flights in enumerate(data.copies(once)):
            hour = pc.strftime(flights["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
            entity = pc.binary_join_element_wise(hour, flights["carrier"], flights["flight"].cast(pa.string()), "/")
            named = flights.append_column("partition_key", pa.repeat(key, len(flights))).append_column("entity_id", entity)
            # a row is recorded after it has happened: when exactly, no model asks
            write("flights", f"{key}-{copy:02}", named.append_column("recorded_at", pc.add(flights["time_hour"], pa.scalar(timedelta(days=2)))))
            published = pa.scalar(datetime(2012, 12, 1, tzinfo=UTC), pa.timestamp("us", "UTC"))
            write("timetable", f"{key}-{copy:02}", named.append_column("published_at", pa.repeat(published, len(flights))))
        write("weather", key, pa.Table.from_pylist([row | {"partition_key": key} for row in data.weather()[key]]))
    planes = pa.csv.read_csv(data.folder() / "planes.csv", convert_options=data.NULLS)
    for copy in range(times):
        tails = pc.binary_join_element_wise(planes["tailnum"], str(copy), "-") if copy else planes["tailnum"]
        write("planes", f"{copy:02}", planes.set_column(0, "tailnum", tails))
    for name in ("airports", "airlines"):
        write(name, "all", pa.csv.read_csv(data.folder() / f"{name}.csv", convert_options=data.NULLS))


def on_warehouse(times: int) -> dict[str, Any]:
    """The stages' figures of a month of so many times the rows, in a state folder of its own."""
    bounds = {table: [times * least, times * most] for table, (least, most) in USUAL.items()}
    os.environ |= {"FLIGHTDECK_WORLD_SCALE": str(times), "FLIGHTDECK_EXPECTED_ROWS": json.dumps(bounds)}
    with fresh() as home:
        found: dict[str, Any] = measured(home, "tests.bench_scale", "warehouse")
    return found


def main(arguments: list[str]) -> None:
    match arguments:
        case ["warehouse"]:
            warehouse()
        case ["raw", folder, times]:
            raw(Path(folder), int(times))
        case ["sizes", *sizes]:
            for times in sizes:
                found = on_warehouse(int(times))
                sys.stdout.write(json.dumps({"times": int(times)} | found) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
