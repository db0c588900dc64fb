"""What the warehouse knows of the platform, as Prometheus metrics: one query a metric, in monitoring/prometheus/warehouse.yml."""

import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import psycopg
import yaml
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from flightdeck.settings import ROOT
from flightdeck.warehouse import connect

log = logging.getLogger("flightdeck.exporter")
KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


@lru_cache
def queries() -> dict[str, dict[str, Any]]:
    """{metric: {"kind", "help", "labels", "query"}}; a query's columns are the labels, then `value`."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "monitoring/prometheus/warehouse.yml").read_text())
    return found


class Warehouse(Collector):
    """Asks at each scrape. A warehouse that does not answer is a metric, too, and no error: that is when the scrape matters most."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("flightdeck_warehouse_up", "Whether the warehouse answered this scrape")
        try:
            found = list(self._metrics())
        except psycopg.Error as error:
            log.warning("the warehouse does not answer: %s", error)
            found = []
        up.add_metric([], float(bool(found)))
        yield up
        yield from found

    def _metrics(self) -> Iterator[Metric]:
        with connect("reader") as connection:
            for name, metric in queries().items():
                family = KINDS[metric["kind"]](name, metric["help"], labels=metric.get("labels", []))
                for row in connection.execute(metric["query"]):
                    family.add_metric([str(row[label]) for label in metric.get("labels", [])], float(row["value"]))
                yield family


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Warehouse())
    return made
