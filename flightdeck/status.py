"""What `status` shows: the services' health, and for each partition what the ledger says of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flightdeck import stack
from flightdeck.ledger import ENDED
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import query

NEWEST = """
select distinct on (partition_key, stage) partition_key, stage, inputs, outputs, facts,
    extract(epoch from at - (select min(s.at) from ops.ledger s
        where s.partition_key = l.partition_key and s.stage = l.stage and s.attempt = l.attempt and s.state = 'started'))::float as seconds
from ops.ledger l where state = any(%s) order by partition_key, stage, id desc"""


def services() -> dict[str, dict[str, Any]]:
    """{name: {"url", "healthy"}} of each service."""
    with ThreadPoolExecutor() as pool:
        found = dict(zip(stack.SERVICES, pool.map(stack.healthy, stack.SERVICES), strict=True))
    addresses = {name: settings().url(name) for name in stack.HEALTH} | {"postgres": f"postgresql://{settings().host}:{settings().port_postgres}"}
    return {name: {"url": addresses[name], "healthy": healthy} for name, healthy in found.items()}


def partitions() -> list[dict[str, Any]]:
    """One entry a partition that any stage has ended for, in key order; what has not happened yet is null."""
    stages: dict[str, dict[str, Any]] = {}
    for row in query(NEWEST, ENDED):
        stages.setdefault(row["partition_key"], {})[row["stage"]] = row
    published = {row["partition_key"] for row in query("select partition_key from ops.published")}
    return [_partition(key, found, key in published) for key, found in sorted(stages.items())]


def _partition(key: str, found: dict[str, Any], published: bool) -> dict[str, Any]:
    facts = {stage: row["facts"] for stage, row in found.items()}
    ingest, transform, monitor, gate = (facts.get(stage, {}) for stage in ("ingest", "transform", "monitor", "gate"))
    table = parameters()["model"]["entity_table"]
    return {
        "key": key,
        "landed": ingest.get(f"landed_{table}"),
        "raw": ingest.get(f"published_{table}"),
        "quarantined": sum(value for each in facts.values() for name, value in each.items() if name.startswith("quarantined_")) if ingest else None,
        "features": transform.get("rows", {}).get("features"),
        "published": published,
        "champion": found["monitor"]["inputs"].get("champion") if monitor else None,
        "challenger": found["gate"]["inputs"].get("challenger") if gate else None,
        "champion_log_loss": monitor.get("log_loss"),
        "challenger_log_loss": (gate.get("challenger") or {}).get("log_loss"),
        "auc": monitor.get("auc"),
        "decision": gate.get("decision"),
        "reasons": gate.get("reasons", []),
        "drift_share": monitor.get("drift_share"),
        "retrain": facts.get("decide", {}).get("retrain"),
        "seconds": round(sum(row["seconds"] or 0 for row in found.values()), 1),
    }
