"""Faults of the operations database: at the first one the table is put aside, and a copy of it is spoiled."""

from typing import Any

import psycopg

from flightdeck.settings import settings
from world.faults import Fault, Refused, chosen, late

KEPT = "flights_before_faults"
KEY = """(to_char(time_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '/' || carrier || '/' || flight)"""
MONTH = "year = %(year)s and month = %(month)s"
ROWS = f"{MONTH} and {KEY} = any(%(keys)s)"
# the original itself is kept, so that what `heal` puts back is the same table with its index and grants
KEEP = [
    f"alter table flights rename to {KEPT}",
    f"create table flights (like {KEPT} including all)",
    f"insert into flights select * from {KEPT}",
    "grant select on flights to source_reader",
]
# made of the oldest version, whatever columns the table has by now
VERSION = (
    f"create temp table version on commit drop as select distinct on (time_hour, carrier, flight) * from flights where {ROWS}"
    " order by time_hour, carrier, flight, recorded_at"
)
STORE = "insert into flights select * from version"
FAULTS = {
    "duplicate_rows": [f"insert into flights select * from flights where {ROWS}"],
    "late_rows": [f"update flights set recorded_at = %(late)s where {ROWS}"],
    "corrections": [VERSION, "update version set arr_delay = arr_delay + 60, recorded_at = %(late)s", STORE],
    "corrections_out_of_order": [
        VERSION,
        "update version set arr_delay = arr_delay + 120, recorded_at = %(late)s + interval '1 day'",
        STORE,
        "update version set arr_delay = arr_delay - 60, recorded_at = %(late)s",
        STORE,
    ],
    "new_column": ["alter table flights add gate text"],
    "lost_column": ["alter table flights drop tailnum"],
    "renamed_column": ["alter table flights rename tailnum to tail_number"],
    "retyped_column": ["alter table flights alter distance type text"],
    "unit_change": [f"update flights set distance = round(distance * 1.609344) where {MONTH}"],
    "poison absurd": [f"update flights set arr_delay = 2000000 where {ROWS}"],
    "poison huge": [f"update flights set tailnum = repeat('N', 1000000) where {ROWS}"],
}


def inject(fault: Fault) -> str:
    """Spoil the table, all of it or nothing; returns what was done."""
    year, month = map(int, fault.month.split("-"))
    values: dict[str, Any] = {"year": year, "month": month, "late": late(fault.month)}
    with psycopg.connect(settings().database_url("world")) as connection:
        if not _kept(connection):
            for statement in KEEP:
                connection.execute(statement.encode())
        values["keys"] = _keys(connection, fault, values)
        try:
            for statement in FAULTS[fault.label]:
                done = connection.execute(statement.encode(), values if "%" in statement else None)
        except psycopg.ProgrammingError as error:
            raise Refused(f"the database refuses it ({error.diag.message_primary}): an earlier fault stands in its way; `python -m world heal`") from error
    return f"table flights: {done.statusmessage}" if done.rowcount < 0 else f"{done.rowcount} rows, {_example(fault, values)}"


def _example(fault: Fault, values: dict[str, Any]) -> str:
    added = f", recorded from {values['late']:%Y-%m-%dT%H:%M:%SZ} on" if fault.name.startswith(("late", "corrections")) else ""
    return f"such as {values['keys'][0]}{added}"


def _kept(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("select to_regclass(%s) is not null", [KEPT]).fetchone() == (True,)


def _keys(connection: psycopg.Connection[Any], fault: Fault, values: dict[str, Any]) -> list[str]:
    """Chosen from the table as it was, so that other faults do not change the choice; only what has a value can be corrected."""
    rows = connection.execute(f"select {KEY}, arr_delay is not null from {KEPT} where {MONTH}".encode(), values).fetchall()
    return chosen((key for key, valued in rows if valued or not fault.name.startswith("corrections")), fault, len(rows))


def heal() -> str | None:
    """The table as it was before the first fault; says so if there was one."""
    with psycopg.connect(settings().database_url("world")) as connection:
        if not _kept(connection):
            return None
        connection.execute("drop table if exists flights")
        connection.execute(f"alter table {KEPT} rename to flights".encode())
    return "table flights is what it was"
