"""What ten and a hundred times as many rows take, stage by stage on PostgreSQL, and the marts on each engine; into scale.json and docs/scale.svg.

python -m tests.bench_scale                        all of it; what scale.json has is left as it is
python -m tests.bench_scale warehouse              one process with the setting's size: its figures as JSON (what the whole runs)
python -m tests.bench_scale raw FOLDER TIMES       the year's raw tables as Parquet, without a warehouse
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from flightdeck.settings import ROOT, settings
from tests.adapters.environments import python
from tests.bench import fresh, measured, proportional_bytes

# on the warehouse the first warms the process, and the median of the others counts; other engines build two
WARM = ["2013-01", "2013-02", "2013-03", "2013-04"]
KEYS = WARM[:2]
# what the suites expect of a month's rows, a tenth more or less beside the setting's size
SIZES = {"postgres": [1, 10], "duckdb": [1, 10, 100], "spark": [1, 10, 100]}
A_MONTH = 24_951
USUAL = {"landing.flights": (20_000, 40_000), "landing.timetable": (20_000, 40_000), "landing.planes": (3000, 10_000)}


class Watched(threading.Thread):
    """The most memory that a process and all below it have held at once, shared pages once; bytes."""

    def __init__(self, *roots: int) -> None:
        super().__init__(daemon=True)
        self.roots, self.most, self.over = roots, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.most = max(self.most, proportional_bytes(self.roots))


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
    """Four months of the setting's size in one process, all stages; prints the last three's medians as JSON."""
    from flightdeck import stack
    from flightdeck.warehouse import query
    from tests.bench_data import prepare

    told, sys.stdout = sys.stdout, sys.stderr
    prepare()
    try:
        server = int((settings().home / "run/supervisord.pid").read_text())
        seen: dict[str, list[dict[str, float]]] = {}
        for key in WARM:
            for name, work in stages(key):
                gc.collect()
                seen.setdefault(name, []).append(watched(work, server, os.getpid()))
        figures: dict[str, Any] = {name: {each: median(one[each] for one in found[1:]) for each in ("seconds", "gb")} for name, found in seen.items()}
        counts = query("select count(*) as n from marts.features where partition_key = any(%s) group by partition_key", WARM[1:])
        figures["rows"] = median(each["n"] for each in counts)
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
        # as the warehouse has them, where an integer has 32 bits
        types = {name: pa.int32() if pa.types.is_integer(kind) else kind for name, kind in arrow_types(table).items()}
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


def on_engine(engine: str, times: int, folder: Path) -> dict[str, Any]:
    """Of the second month's marts, built by a command of its own: its seconds, what of them it only takes to begin, and its memory; and all tables' disk."""
    rows, place = folder / f"raw-{times}", folder / f"{engine}-{times}"
    if not rows.exists():
        subprocess.run([sys.executable, "-m", "tests.bench_scale", "raw", str(rows), str(times)], check=True)
    command = [str(python(f"dbt_project/engines/requirements-{engine}.lock")), str(ROOT / "dbt_project/engines/build.py"), engine, str(rows), str(place)]

    def build(*keys: str) -> dict[str, float]:
        process = subprocess.Popen([*command, *keys], cwd=ROOT, env=os.environ | {"SPARK_DRIVER_MEMORY": "12g"}, stdout=sys.stderr)
        return watched(process.wait, process.pid) | {"failed": process.returncode}

    found = [build(*KEYS[:1]), build(*KEYS), build(*KEYS)]
    if any(each.pop("failed") for each in found):
        raise RuntimeError(f"{engine} did not build {times} times the rows")
    files = [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
    figures = {"first month": found[0], "month": found[1], "begin": found[2], "disk_gb": round(sum(each.stat().st_size for each in files) / 1e9, 3)}
    shutil.rmtree(place, ignore_errors=True)
    place.unlink(missing_ok=True)
    return figures


def drawn(figures: list[dict[str, Any]]) -> None:
    """docs/scale.svg: seconds, memory and disk of a month's marts, by its rows and the engine."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, title, value in zip(
        figure.subplots(1, 3),
        ("a month's marts: seconds", "a month's marts: GB of memory, at most", "GB of disk"),
        (lambda each: each["month"]["seconds"], lambda each: each["month"]["gb"], lambda each: each["disk_gb"]),
        strict=True,
    ):
        for engine in SIZES:
            if mine := [each for each in figures if each["engine"] == engine]:
                axes.plot([each.get("rows", A_MONTH * each["times"]) for each in mine], list(map(value, mine)), marker="o", label=engine)
        axes.set(xscale="log", yscale="log", xlabel="flights a month", title=title)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend()
    figure.savefig(ROOT / "docs/scale.svg", metadata={"Date": None})


def everything(sizes: dict[str, list[int]]) -> None:
    """All sizes of each engine, those that are there already in scale.json left as they are."""
    path = Path("scale.json")
    figures: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    there = {(each["engine"], each["times"]) for each in figures}
    with tempfile.TemporaryDirectory(prefix="fd-scale-") as folder:
        for engine, times in [(engine, times) for engine, wanted in sizes.items() for times in wanted]:
            if (engine, times) in there:
                continue
            if engine == "postgres":
                found = on_warehouse(times)
                found["month"] = {
                    "seconds": found["plan"]["seconds"] + found["transform"]["seconds"],
                    "gb": max(found[stage]["gb"] for stage in ("plan", "transform")),
                }
            else:
                found = on_engine(engine, times, Path(folder))
            figures.append({"engine": engine, "times": times} | found)
            path.write_text(json.dumps(figures, indent=1) + "\n")
            sys.stderr.write(f"{engine} {times}: {json.dumps(found)}\n")
    drawn(figures)


def main(arguments: list[str]) -> None:
    match arguments:
        case []:
            everything(SIZES)
        case ["warehouse"]:
            warehouse()
        case ["raw", folder, times]:
            raw(Path(folder), int(times))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
