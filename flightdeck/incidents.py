"""Alerts where one sees them without an account: Alertmanager's are kept in ops.incidents, and a page lists them beside those that the stages sent."""

from datetime import datetime
from html import escape
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from flightdeck.warehouse import connect, query

MOST_BYTES = 1_000_000
KEEP = """
insert into ops.incidents (fingerprint, starts_at, ends_at, name, severity, summary, labels) values (%s, %s, %s, %s, %s, %s, %s)
on conflict (fingerprint, starts_at) do update set ends_at = excluded.ends_at, summary = excluded.summary"""
NEWEST = """
select * from (
    select starts_at as at, ends_at, severity, name as source, summary, '' as about from ops.incidents
    union all select at, null, severity, source, summary, partition_key from ops.alerts) both_kinds
order by at desc limit 200"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Alerts</title><meta http-equiv="refresh" content="30">
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:3rem auto;padding:0 1rem;color:#1b2430}}
td,th{{text-align:left;padding:.3rem .8rem .3rem 0;vertical-align:top;border-bottom:1px solid #dde}}.open{{font-weight:600}}</style>
<h1>Alerts</h1><p>{told}</p><table><tr><th>since<th>until<th>how bad<th>from<th>about<th>what</tr>{rows}</table></html>
"""


class Told(msgspec.Struct, rename="camel"):
    """One alert, as Alertmanager's webhook sends it (its version 4)."""

    status: str
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    fingerprint: str
    annotations: dict[str, str] = {}


class Message(msgspec.Struct):
    alerts: list[Told]


DECODE = msgspec.json.Decoder(Message).decode


def take(body: bytes) -> int:
    """Keep the alerts of a message, each once however often it is told; returns how many. Raises msgspec.DecodeError."""
    alerts = DECODE(body).alerts
    with connect("receiver") as connection, connection.transaction():
        for each in alerts:
            ends = each.ends_at if each.status == "resolved" else None
            name, severity = each.labels.get("alertname", ""), each.labels.get("severity", "")
            values = (each.fingerprint, each.starts_at, ends, name, severity, each.annotations.get("summary", ""), Jsonb(each.labels))
            connection.execute(KEEP, values)
    return len(alerts)


def page() -> str:
    """The newest alerts of both kinds, those that go on in bold."""
    found = query(NEWEST, role="reader")
    told = "The newest 200, those of the stages and those of Prometheus's rules; docs/operations.md says what to do." if found else "None yet."
    return PAGE.format(told=told, rows="".join(map(_row, found)))


def _row(row: dict[str, Any]) -> str:
    goes_on = row["about"] == "" and row["ends_at"] is None
    cells = [f"{row['at']:%Y-%m-%d %H:%M:%S}", f"{row['ends_at']:%H:%M:%S}" if row["ends_at"] else "goes on" if goes_on else ""]
    cells += [escape(row[name]) for name in ("severity", "source", "about", "summary")]
    return f"<tr{' class=open' if goes_on else ''}>{''.join(f'<td>{cell}' for cell in cells)}</tr>"
