"""What is in quarantine: how many rows of each table, partition, expectation and state, of how many that landed, and what has become of each."""

from typing import Any

from flightdeck.warehouse import Row, connect, query

# values of a row that a person sees of it, where its expectation names no column that it has
SHOWN = 4
GROUPS = """
select source_table, partition_key, expectation, state, rule, count(*) as rows,
    (array_agg(jsonb_build_object('entity_key', entity_key, 'row', row, 'repaired', repaired) order by id))[1] as sample
from quarantine.rows where (%(table)s::text is null or source_table = %(table)s) and (%(key)s::text is null or partition_key = %(key)s)
group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"""
# of each table and partition what its newest publication says
RATES = """
select distinct on (source_table, partition_key) substr(name, 13) as source_table, partition_key, value::int as held,
    (facts ->> ('landed_' || substr(name, 13)))::int as landed
from ops.ledger, jsonb_each_text(facts) as fact (name, value)
where state = 'published' and starts_with(name, 'quarantined_') and facts ? ('landed_' || substr(name, 13))
order by 1, 2, id desc"""
MARKED = """
select source_table, partition_key, entity_key, rule, md5((row - '_dlt_load_id')::text) as content from quarantine.rows
where state = 'repaired' and (%s::text is null or partition_key = %s) order by 1, 2, id"""
BECAME = """
select state, expectation, rule, repaired from quarantine.rows
where source_table = %s and partition_key = %s and md5((row - '_dlt_load_id')::text) = %s order by id desc limit 1"""


def groups(table: str | None, key: str | None) -> list[dict[str, Any]]:
    """Counts by table, partition, expectation, state and rule; `share` is of the rows that landed, `sample` has the values that were looked at."""
    landed = {(rate["source_table"], rate["partition_key"]): rate["landed"] for rate in rates()}
    with connect() as connection:
        rows = connection.execute(GROUPS, {"table": table, "key": key}).fetchall()
    return [_group(row, landed.get((row["source_table"], row["partition_key"]))) for row in rows]


def rates(table: str | None = None) -> list[dict[str, Any]]:
    """The quarantine rate of each table by partition: {source_table, partition_key, held, landed, rate}."""
    return [row | {"rate": row["held"] / row["landed"] if row["landed"] else 0.0} for row in query(RATES) if table in (None, row["source_table"])]


def marked(key: str | None) -> list[Row]:
    """The rows that a rule was found good for, and that are not published yet."""
    return query(MARKED, key, key)


def became(row: Row) -> str:
    """What a row that was marked is now, and why; it begins with the state."""
    found = query(BECAME, row["source_table"], row["partition_key"], row["content"])
    if not found:
        return "gone: its source does not send it any more as it was, or it passes"
    now = found[0]
    if now["state"] == "repaired":
        return "repaired: not published, for a table without partitions is the newest partition's: replay that"
    return f"{now['state']}: {now['expectation'] if now['state'] == 'held' else 'by ' + now['rule']}"


def _group(row: Row, landed: int | None) -> dict[str, Any]:
    sample = row["sample"]
    named = [name.partition(":")[2] for name in row["expectation"].split(", ")]
    columns = [name for name in named if name in sample["row"]] or [name for name in sample["row"] if not name.startswith("_")][:SHOWN]
    shown = {"entity_key": sample["entity_key"], "values": {name: sample["row"][name] for name in columns}}
    if sample["repaired"]:
        shown["repaired"] = {name: value for name, value in sample["repaired"].items() if value != sample["row"].get(name)}
    return row | {"landed": landed, "share": row["rows"] / landed if landed else None, "sample": shown | {"row": sample["row"]}}
