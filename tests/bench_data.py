"""The data half of `make bench`: each stage warm, in one process, month by month; and a million rows beside what plain SQL and COPY take.

Run by tests/bench.py in a state folder of its own; prints its figures as JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median
from typing import Any

import psycopg

from expectations.batch import validate
from expectations.check import _note, check_landing, check_marts
from flightdeck import ledger, secrets, stack, transform
from flightdeck.partitions import partition, span
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from ingestion import operations
from ingestion.contract import Reading
from ingestion.load import _run, load, make_batch, replace
from ingestion.publish import publish
from tests.bench import figure

MANY = "2050-01"
COPIES = 37
# January's flights 37 times, in a January far from all others; each copy under carriers of its own, so that all keys differ
ENLARGE = f"""
with codes as (select carrier, ((row_number() over (order by carrier) - 1) * {COPIES})::int as first from (select distinct carrier from flights) c),
digits as (select '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ' as d)
insert into flights
select 2050, f.month, f.day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay,
    substr(d, (first + n) / 36 + 1, 1) || substr(d, (first + n) % 36 + 1, 1), flight, tailnum, origin, dest,
    case when n = 7 and day = 7 then 20000 else air_time end, case when n = 9 and day < 15 then 1 else distance end,
    hour, minute, time_hour + interval '37 years', recorded_at + interval '37 years'
from flights f join codes using (carrier), digits, generate_series(0, {COPIES - 1}) as n where f.year = 2013 and f.month = 1"""
WEATHER = """
insert into raw.weather select '2050-01', origin, 2050, month, day, hour, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib,
    time_hour + interval '37 years', recorded_at + interval '37 years', _dlt_load_id from raw.weather where partition_key = '2013-01'"""


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def beside(repeats: int, **works: Callable[[], Any]) -> dict[str, float]:
    """The median of each work's seconds; they take turns, so that a busy moment falls on all."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return {name: median(values) for name, values in taken.items()}


def prepare() -> None:
    for name in ("run", "logs", "reports", "work"):
        (settings().home / name).mkdir(mode=0o700, exist_ok=True)
    secrets.ensure()
    stack.start_manager()
    stack.start(["postgres"])
    stack.wait(["postgres"], 60)
    stack.make_databases()
    stack.start(["world"])
    stack.wait(["world"], 60)
    transform.prepare()
    # as the scheduler does it for its tasks
    gc.collect()
    gc.freeze()


def month(key: str) -> dict[str, float]:
    """Seconds of each data stage of one month; the plan comes before and is not counted."""
    handed: dict[str, Any] = {}

    def keep(work: Callable[[], dict[str, Any]]) -> Callable[[], None]:
        return lambda: handed.update(work())

    publish(check_landing(load(key, "timetable")))
    transform.plan(key)
    landed, checked = seconds(keep(lambda: load(key))), seconds(keep(lambda: check_landing(handed)))
    published = seconds(lambda: publish(handed))
    handed.clear()
    built, judged = seconds(keep(lambda: transform.build(key))), seconds(keep(lambda: check_marts(handed)))
    transform.publish(handed)
    return {"ingest": landed + published, "gx": checked, "dbt": built, "gx_marts": judged}


def months() -> dict[str, Any]:
    """The year once, then February and December in turn."""
    year = {key: month(key) for key in span("2013-01..2013-12")}
    warm = [taken for key, taken in year.items() if key != "2013-01"]
    turns: dict[str, list[dict[str, float]]] = {"2013-02": [], "2013-12": []}
    for _ in range(3):
        for key, taken in turns.items():
            taken.append(month(key))
    figures = {
        f"{stage}_seconds": figure(median(taken[stage] for taken in warm), "s", f"{stage} of a month, warm, in one process; median of months 2 to 12")
        for stage in warm[0]
    }
    for stage in warm[0]:
        late, early = (median(taken[stage] for taken in turns[key]) for key in ("2013-12", "2013-02"))
        figures[f"{stage}_month12_over_month2"] = figure(late / early, "ratio", f"{stage} of December over February, the year loaded; medians of 3, in turn")
    late, early = (median(sum(taken.values()) for taken in turns[key]) for key in ("2013-12", "2013-02"))
    figures["month12_over_month2"] = figure(late / early, "ratio", "all data stages of December over February, the year loaded; medians of 3, in turn")
    return figures


def ingestion() -> dict[str, Any]:
    """A million rows by dlt, beside a plain COPY pipe."""
    with psycopg.connect(settings().database_url("world"), autocommit=True) as owner:
        owner.execute(ENLARGE.encode())
        owner.execute("analyze flights")
    reading = Reading(partition(MANY), partition(MANY).closes)

    def landed() -> None:
        with connect() as connection:
            # as empty as the pipe's: a partition that comes again has its rows of before deleted, too
            connection.execute("truncate landing.flights")
            replace(connection, "operations", MANY, _run("operations", operations, reading))

    def pipe() -> None:
        with psycopg.connect(settings().database_url("source_reader")) as source, connect() as target:
            target.execute("drop table if exists landing.piped")
            target.execute("create table landing.piped (like raw.flights)")
            target.execute("alter table landing.piped drop partition_key, drop entity_id, drop _dlt_load_id")
            with (
                source.cursor().copy("copy (select * from flights where year = 2050 and month = 1) to stdout") as out,
                target.cursor().copy("copy landing.piped from stdin") as into,
            ):
                for block in out:
                    into.write(block)

    taken = beside(3, dlt=landed, copy=pipe)
    with connect() as connection:
        connection.execute("drop table landing.piped")
        make_batch(connection, "flights")
        connection.execute("analyze landing.flights")
    return {
        "ingest_1m_seconds": figure(taken["dlt"], "s", "a million flights from database to landing by dlt; median of 3"),
        "ingest_over_copy_1m": figure(taken["copy"] / taken["dlt"], "ratio", "the speed of dlt's load over a plain COPY pipe's, a million flights"),
    }


def _predicate(expectation: Any) -> str:
    """What breaks the expectation, as SQL."""
    values = expectation.configuration.kwargs
    column, low, high = values.get("column"), values.get("min_value"), values.get("max_value")
    match type(expectation).__name__:
        case "ExpectColumnValuesToBeBetween":
            return " or ".join([f"{column} < {low}"] * (low is not None) + [f"{column} > {high}"] * (high is not None))
        case "ExpectColumnValuesToBeInSet":
            return f"{column} not in ({', '.join(repr(value) for value in values['value_set'])})"
        case "ExpectColumnValuesToMatchRegex":
            return f"{column} !~ '{values['regex']}'"
        case "ExpectColumnValuesToBeUnique":
            return f"count(*) over (partition by {column}) > 1"
        case name:
            raise ValueError(f"no SQL is written here for {name}")


def checks() -> dict[str, Any]:
    """The suite with its notes for the quarantine, beside one statement that finds and writes the same rows."""
    expectations = [each for each in import_module("expectations.suites.landing_flights").EXPECTATIONS if each.meta["then"] == "quarantine"]
    reasons = ", ".join(f"case when {_predicate(each)} then '{number}' end" for number, each in enumerate(expectations))
    one = (
        "insert into landing.failures select 'plain', partition_key, 0, row_id, reason from (select partition_key, row_id,"
        f" unnest(array_remove(array[{reasons}], null)) as reason from landing.flights_batch) found"
    )
    attempt, counts = ledger.Attempt("bench", MANY, 0), {}

    def plain() -> None:
        with connect() as connection, connection.transaction():
            connection.execute("select set_config('flightdeck.partition', %s, true), set_config('flightdeck.timezone', %s, true)", (MANY, settings().timezone))
            connection.execute("delete from landing.failures where source_table = 'plain'")
            counts["plain"] = connection.execute(one.encode()).rowcount

    def tool() -> None:
        outcome = validate("landing", "flights", "flights_batch", MANY)
        with connect() as connection, connection.transaction():
            _note(connection, attempt, "flights", outcome)
        counts["tool"] = sum(failure.rows for failure in outcome.failures if failure.then == "quarantine")

    taken = beside(3, gx=tool, sql=plain)
    if counts["plain"] != counts["tool"]:
        raise AssertionError(f"they do not find the same rows: {counts}")
    return {
        "gx_1m_seconds": figure(taken["gx"], "s", f"the suite of landing.flights on a million rows, {counts['tool']} of them noted; median of 3"),
        "gx_over_sql_1m": figure(taken["gx"] / taken["sql"], "ratio", "the same, over one SQL statement that finds and notes the same rows"),
    }


def transformation() -> dict[str, Any]:
    """The models and tests of a million rows, beside their compiled SQL."""
    with connect() as connection:
        connection.execute("select set_config('flightdeck.partition', %s, false), set_config('flightdeck.timezone', %s, false)", (MANY, settings().timezone))
        names = [
            row["column_name"]
            for row in connection.execute("select column_name from information_schema.columns where table_schema = 'raw' and table_name = 'flights'")
        ]
        connection.execute(f"insert into raw.flights ({', '.join(names)}) select {', '.join(names)} from landing.flights_batch".encode())
        connection.execute(WEATHER.encode())
        connection.execute("analyze raw.flights")
        connection.execute("analyze raw.weather")
    nodes: list[Any] = []

    def plain() -> None:
        with connect() as connection:
            for result in nodes:
                node = result.node
                if node.resource_type == "model":
                    with connection.transaction():
                        connection.execute(f"delete from {node.schema}.{node.alias} where partition_key = '{MANY}'".encode())
                        connection.execute(f"insert into {node.schema}.{node.alias} {node.compiled_code}".encode())
                else:
                    connection.execute(f"select count(*) from ({node.compiled_code}) failing".encode())

    nodes += transform._build(transform.PARTITIONED, MANY)
    taken = beside(3, dbt=lambda: transform._build(transform.PARTITIONED, MANY), sql=plain)
    return {
        "dbt_1m_seconds": figure(taken["dbt"], "s", "models and data tests of a partition of a million rows; median of 3"),
        "dbt_over_sql_1m": figure(taken["dbt"] / taken["sql"], "ratio", "the same, over its compiled SQL, statement by statement"),
    }


def main() -> None:
    prepare()
    try:
        figures = months() | ingestion() | checks() | transformation()
    finally:
        stack.down()
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
