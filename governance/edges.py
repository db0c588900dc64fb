"""Every edge that a trace walks, for all that is there at once: what points at nothing is an orphan."""

from collections.abc import Iterator
from typing import Any, LiteralString

from flightdeck import registry
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect

# name of the edge → SQL for what points at nothing. A drill's impostors have files of their own, and have learned nothing.
EDGES: dict[str, LiteralString] = {
    "prediction → release": """
        select 'version ' || model_version || ' of ' || count(*) || ' predictions' as orphan from ops.predictions p
        where not exists (select from ops.deployments d where d.model_version = p.model_version) group by model_version""",
    "shadow → prediction": """
        select s.prediction_id::text as orphan from ops.predictions s
        where s.shadows is not null and not exists (select from ops.predictions p where p.prediction_id = s.shadows) limit 20""",
    "prediction → history": """
        select history_key || ' of version ' || model_version as orphan from (select distinct history_key, model_version from ops.predictions) p
        where history_key is not null and not exists (select from ops.ledger l
            where l.stage = 'transform' and l.state = 'published' and l.partition_key = p.history_key)""",
    "release → training": """
        select distinct 'version ' || model_version as orphan from ops.deployments d
        where release ->> 'artifact' not like 'drills/%%' and not exists (select from ops.ledger l
            where l.stage = 'train' and l.state = 'done' and l.outputs -> 'release' ->> 'sha256' = d.release ->> 'sha256')""",
    "training → verdict": """
        select 'train of ' || partition_key || ', attempt ' || attempt as orphan from ops.ledger t
        where stage = 'train' and state = 'done' and outputs ? 'release' and exists (select from ops.deployments d
            where d.release ->> 'sha256' = t.outputs -> 'release' ->> 'sha256' and d.release ->> 'artifact' not like 'drills/%%')
        and not exists (select from ops.ledger g
            where g.stage = 'gate' and g.state = 'done' and g.partition_key = t.partition_key and g.id > t.id)""",
    "training → build": """
        select 'train of ' || t.partition_key || ': transform of ' || used.key || ', attempt ' || used.value as orphan
        from ops.ledger t, jsonb_each_text(t.inputs -> 'transform') used
        where t.stage = 'train' and t.state = 'done' and not exists (select from ops.ledger l where l.stage = 'transform' and l.state = 'published'
            and l.partition_key = used.key and l.attempt = used.value::int)""",
    "build → ingestion": """
        select 'transform of ' || partition_key || ', attempt ' || attempt as orphan from ops.ledger b
        where stage = 'transform' and state = 'published' and inputs ? 'ingest' and not exists (select from ops.ledger l
            where l.stage = 'ingest' and l.state = 'published' and l.partition_key = b.partition_key and l.attempt = (b.inputs ->> 'ingest')::int)""",
    "published partition → rows": """
        select partition_key as orphan from ops.published p where not exists (select from marts.features f where f.partition_key = p.partition_key)""",
    "feature row → source rows": """
        select f.entity_id as orphan from marts.features f where not exists (select from marts.source_rows s
            where s.entity_id = f.entity_id and s.source_table = %(entities)s) limit 20""",
}
LOADED: LiteralString = """
select distinct each.key as source, each.value as load_id from ops.ledger l, jsonb_each_text(l.inputs) each
where l.stage in ('ingest', 'timetable') and l.state = 'published' and each.key <> 'as_of'"""
RELEASES: LiteralString = """
select distinct on (model_version) model_version, release from ops.deployments
where release ->> 'artifact' not like 'drills/%' and model_version <> all(array(
    -- of what learned from erased rows nothing has to be there any more
    select each.value::int from ops.ledger, jsonb_array_elements(outputs -> 'retrain') each where stage = 'erase'))
order by model_version, id desc"""


def orphans() -> list[str]:
    """What points at nothing, each as `edge: what`; empty when every edge resolves."""
    with connect() as connection:
        values = {"entities": f"raw.{parameters()['model']['entity_table']}"}
        found = [f"{edge}: {row['orphan']}" for edge, query in EDGES.items() for row in connection.execute(query, values)]
        found += [f"raw row → load: {each}" for each in _unloaded(connection)]
        for row in connection.execute(RELEASES).fetchall():
            found += [f"release → {each}" for each in _of_release(row["release"])]
    return found


def _unloaded(connection: Connection) -> Iterator[str]:
    """Loads that rows in raw name, and the ledger does not."""
    from psycopg import sql

    from flightdeck.contracts import contracts

    known = {(row["source"], row["load_id"]) for row in connection.execute(LOADED)}
    for table, contract in contracts().items():
        query = sql.SQL("select distinct _dlt_load_id as load_id from raw.{}").format(sql.Identifier(table))
        for row in connection.execute(query):
            if (contract.source, row["load_id"]) not in known:
                yield f"raw.{table}, load {row['load_id']}"


def _of_release(release: dict[str, Any]) -> Iterator[str]:
    """The run, the model file and the snapshot's list in DVC's store."""
    version = release["model_version"]
    try:
        registry.model(release)
    except registry.RegistryError as error:
        yield f"model file: version {version}: {error}"
    try:
        registry.run(release["run_id"])
    except registry.RegistryError as error:
        yield f"run: version {version}: {error}"
    for key, md5 in release.get("snapshot", {}).items():
        if not stored(md5):
            yield f"snapshot: version {version}: {md5}, which is {key}"


def stored(md5: str) -> bool:
    """Whether DVC's remote has the object."""
    from pyarrow import fs

    store, root = fs.FileSystem.from_uri(settings().dvc_remote)
    return bool(store.get_file_info(f"{root}/files/md5/{md5[:2]}/{md5[2:]}").type == fs.FileType.File)
