"""The real year, profiled month by month: three tables with batches of their own, so that what is injected there meets nobody else's rows."""

import zipfile
from typing import LiteralString

import psycopg
import pytest

from expectations.watch import measured, watch
from flightdeck.ledger import Attempt
from flightdeck.settings import settings
from flightdeck.warehouse import connect
from world.data import folder

# table → the columns of its batch
TABLES = {"flights": "*", "weather": "*", "labels": "label, day"}
YEAR = [f"2013-{month:02}" for month in range(1, 13)]
MAKE: LiteralString = """
drop schema if exists year cascade;
create schema year;
create table year.flights (year bigint, month bigint, day bigint, dep_time bigint, sched_dep_time bigint, dep_delay bigint, arr_time bigint,
    sched_arr_time bigint, arr_delay bigint, carrier text, flight bigint, tailnum text, origin text, dest text, air_time bigint, distance bigint,
    hour bigint, minute bigint, time_hour timestamptz);
create table year.weather (origin text, year bigint, month bigint, day bigint, hour bigint, temp float8, dewp float8, humid float8, wind_dir float8,
    wind_speed float8, wind_gust float8, precip float8, pressure float8, visib float8, time_hour timestamptz);
set time zone 'UTC';
"""
BATCHES: LiteralString = """
create table year.labels as select year, month, coalesce(arr_delay >= 15, true) as label, make_date(year::int, month::int, day::int) as day from year.flights;
grant usage, create on schema year to worker;
"""


def batch(table: str, columns: str = "*", twice: bool = False, where: str = "true") -> None:
    """The view on a month of the table; `columns`, `twice` and `where` are how a fault of the source would change it."""
    select = f"select {columns} from year.{table} where to_char(make_date(year::int, month::int, 1), 'YYYY-MM') = current_setting('flightdeck.partition')"
    select += f" and {where}"
    with connect() as connection:
        connection.execute(f"drop view if exists year.{table}_batch".encode())
        connection.execute(f"create view year.{table}_batch as {select}{f' union all {select}' if twice else ''}".encode())


@pytest.fixture(scope="session")
def year(database: str) -> dict[str, Attempt]:
    """Each month's attempt, with what its watch put into the facts."""
    with psycopg.connect(settings().database_url("flightdeck"), dbname="warehouse", autocommit=True) as administrator:
        administrator.execute(MAKE)
        with zipfile.ZipFile(folder() / "flights.csv.zip") as archive:
            flights = archive.read("flights.csv")
        for table, content in {"flights": flights, "weather": (folder() / "weather.csv").read_bytes()}.items():
            with administrator.cursor().copy(f"copy year.{table} from stdin with (format csv, header, null 'NA')".encode()) as copy:
                copy.write(content)
        administrator.execute(BATCHES)
        administrator.execute("grant select on all tables in schema year to worker")
    for table, columns in TABLES.items():
        batch(table, columns)
    attempts = {key: Attempt("ingest", key, 1) for key in YEAR}
    for attempt in attempts.values():
        measured(attempt.key, "year", list(TABLES))
        watch(attempt, [f"year.{table}" for table in TABLES])
    return attempts
