"""What `status` shows: the services' health, and for each partition what the ledger says of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flightdeck import ledger, stack
from flightdeck.parameters import parameters
from flightdeck.settings import settings


def services() -> dict[str, dict[str, Any]]:
    """{name: {"url", "healthy"}} of each service."""
    with ThreadPoolExecutor() as pool:
        found = dict(zip(stack.SERVICES, pool.map(stack.healthy, stack.SERVICES), strict=True))
    addresses = {name: settings().public_url(name) for name in stack.HEALTH} | {
        "postgres": f"postgresql://{settings().host}:{settings().public_port('postgres')}"
    }
    return {name: {"url": addresses[name], "healthy": healthy} for name, healthy in found.items()}


def partitions() -> list[dict[str, Any]]:
    """One entry a partition that any stage has ended for, in key order; what has not happened yet is null."""
    published = set(ledger.published())
    return [_partition(key, found, key in published) for key, found in ledger.newest().items()]


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
