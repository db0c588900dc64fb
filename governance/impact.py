"""From a data set, a column or a row in quarantine to what it has touched: features, snapshots, models, releases, predictions, and who reads them."""

from typing import Any

from flightdeck.ledger import WHOLE
from flightdeck.partitions import looking_back, partition
from flightdeck.warehouse import Connection, Row, connect
from governance.lineage import Graph, UnknownDataset, graph

TRAINED = """
select id, partition_key, attempt, inputs -> 'transform' as partitions, outputs -> 'release' as release from ops.ledger
where stage = 'train' and state = 'done' and outputs ? 'release' order by id"""
SERVED = """
select model_version, min(at) as since, array_agg(distinct state) as states from ops.deployments where model_version = any(%s) group by 1 order by 1"""
# one walk over an index, whatever is counted
PREDICTED = """
select model_version, count(*) as n, count(*) filter (where history_key >= %(from)s) as looked_up from ops.predictions
where purpose <> 'probe' group by 1 order by 1"""
HELD = "select * from quarantine.rows where id = %s"
QUARANTINE = "quarantine.rows."


def impact(name: str, key: str | None = None) -> dict[str, Any]:
    """What `name` (schema.table, schema.table.column, or quarantine.rows.ID) of a partition, or of all, has touched. Raises UnknownDataset."""
    lineage = graph()
    key = key and partition(key).key
    with connect() as connection:
        if key:
            _known(connection, key)
        row = _held(connection, name)
        if row:
            name, key = f"raw.{row['source_table']}", row["partition_key"]
        dataset, column = lineage.find(name)
        reached = [dataset.name, *lineage.downstream(dataset.name)]
        columns = lineage.columns_from(name) if column else []
        consumers = [each for each in lineage.consumers if set(each.reads) & set(reached)]
        keys = touched(connection, lineage, reached, key)
        trained = _trained(connection, keys) if any(each.kind == "ml" for each in consumers) else []
        versions = [row["release"]["model_version"] for row in trained]
        return {
            "dataset": dataset.name,
            "column": column or None,
            "partition": key,
            "quarantined": row and {field: row[field] for field in ("id", "entity_key", "expectation", "state", "row")},
            "datasets": reached[1:],
            "columns": columns,
            "features": _features(lineage, reached, columns if column else None),
            "partitions": keys,
            "snapshots": [{"md5": row["release"]["snapshot_md5"], "partition": row["partition_key"], "attempt": row["attempt"]} for row in trained],
            "models": [{name: row["release"][name] for name in ("model_version", "run_id", "sha256", "code")} for row in trained],
            "releases": connection.execute(SERVED, (versions,)).fetchall(),
            "predictions": _predictions(connection, versions, _looked_up(lineage, reached, keys)),
            "consumers": [{"name": each.name, "kind": each.kind, "owner": each.owner, "told": each.told} for each in consumers],
        }


def _known(connection: Connection, key: str) -> None:
    """Raises UnknownDataset for a partition that nothing has happened to."""
    keys = [row["partition_key"] for row in connection.execute("select distinct partition_key from ops.ledger where partition_key <> %s", (WHOLE,))]
    if key not in keys:
        near = sorted(sorted(keys, key=lambda each: abs((partition(each).start - partition(key).start).total_seconds()))[:3])
        raise UnknownDataset(f"nothing has happened to partition {key} yet; the nearest are {', '.join(near) or 'none'}")


def _held(connection: Connection, name: str) -> Row | None:
    if not name.startswith(QUARANTINE):
        return None
    number = name.removeprefix(QUARANTINE)
    row = connection.execute(HELD, (int(number),)).fetchone() if number.isdecimal() else None
    if row is None:
        ids = [str(each["id"]) for each in connection.execute("select id from quarantine.rows order by id desc limit 5")]
        raise UnknownDataset(f"no row {number!r} in quarantine; the newest are {', '.join(ids) or 'none'}")
    return row


def touched(connection: Connection, lineage: Graph, relations: list[str], key: str | None) -> list[str]:
    """The published partitions that are built on partition `key` of what reaches these data sets; all of them without a key."""
    published = [row["partition_key"] for row in connection.execute("select partition_key from ops.published order by 1")]
    if key is None:
        return published
    carried = {lineage.datasets[each].carried for each in relations}
    later = [each for each in published if each > key]
    hours = max((lineage.datasets[each].reaches for each in relations), default=0)
    return [each for each in published if each == key] + (later if "all" in carried else looking_back(key, later, hours) if "next" in carried else [])


def _trained(connection: Connection, keys: list[str]) -> list[Row]:
    return [row for row in connection.execute(TRAINED) if set(row["partitions"] or row["release"]["partitions"]) & set(keys)]


def _features(lineage: Graph, reached: list[str], columns: list[str] | None) -> list[str]:
    """Columns of what models learn from: those that are computed from a column, or all of the data sets that are reached."""
    learned = [name for each in lineage.consumers if each.kind == "ml" for name in each.reads if name in reached]
    found = [f"{name}.{column}" for name in learned for column in lineage.datasets[name].columns]
    if columns is not None:
        return [each for each in found if each in columns]
    # of a data set's rows, all that is computed from any of its columns
    origin = f"{reached[0]}."
    return [each for each in found if each.startswith(origin) or any(one.startswith(origin) for one in lineage.made_from(each))]


def _looked_up(lineage: Graph, reached: list[str], keys: list[str]) -> str | None:
    """The first partition as of which a request's lookups have it: where what services read at request time is made of it, and handed on."""
    online = {name for each in lineage.consumers if each.kind == "application" for name in each.reads}
    return keys[0] if keys and any(lineage.datasets[name].carried == "all" for name in online & set(reached)) else None


def _predictions(connection: Connection, versions: list[int], since: str | None) -> dict[str, Any]:
    """How many answers come from models that learned from it, and how many looked it up; probes apart."""
    rows = connection.execute(PREDICTED, {"from": since}).fetchall()
    by_model = {row["model_version"]: row["n"] for row in rows if row["model_version"] in versions}
    others = sum(row["looked_up"] for row in rows if row["model_version"] not in versions) if since else 0
    return {
        "by_version": by_model,
        "looked_up": sum(row["looked_up"] for row in rows) if since else 0,
        "in_all": sum(by_model.values()) + others,
        "of": sum(row["n"] for row in rows),
    }
