"""Alerts and dashboards as files: each alert has a unit test and a row in the handbook; each panel asks for something."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flightdeck.exporter import queries

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = yaml.safe_load((ROOT / "monitoring/prometheus/rules/platform.yml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((ROOT / "monitoring/dashboards").glob("*.json"))


def test_each_alert_has_a_unit_test_that_sees_it_raised() -> None:
    cases = yaml.safe_load((ROOT / "monitoring/prometheus/tests/platform.yml").read_text())["tests"]
    raised = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert {rule["alert"] for rule in ALERTS} == raised


def test_each_alert_has_a_row_in_the_handbook() -> None:
    handbook = (ROOT / "docs/operations.md").read_text().partition("## Alerts")[2]
    assert [rule["alert"] for rule in ALERTS if not re.search(rf"^\|[^|]*\b{rule['alert']}\b", handbook, re.MULTILINE)] == []


def test_each_alert_says_how_bad_it_is_and_what_it_found() -> None:
    assert len(ALERTS) >= 15
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"page", "warning"}
    assert [rule["alert"] for rule in ALERTS if not rule["annotations"]["summary"]] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_ask_for_metrics_of_ours_that_exist(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == path.stem
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in re.findall(r"\bflightdeck_\w+", target["expr"])}
    own = set(re.findall(r'"(flightdeck_\w+)"', (ROOT / "serving/metrics.py").read_text()))
    assert {name.removesuffix("_bucket") for name in asked} - set(queries()) - own == set()
    assert len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_query_s_labels_and_value_are_its_columns() -> None:
    for name, metric in queries().items():
        assert metric["kind"] in ("counter", "gauge"), name
        assert (metric["kind"] == "counter") == name.endswith("_total"), name
        assert re.search(r"\bas value\b", metric["query"]), name
