"""Data Docs: the newest result of each suite on each partition as pages that need no network. Built once in a while, not in every check."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

from expectations.batch import context, suite
from expectations.check import tables
from flightdeck.settings import ROOT, settings

TEMPLATES = ROOT / "expectations/data_docs"
# what follows from a failure, the worst first, and what is said of it
FOLLOWS = {"stop": "stopped", "quarantine": "quarantined", "count": "counted"}


class Page(DefaultJinjaPageView):
    """Great Expectations' pages by our templates, where there are some: its own fetch styles, fonts and scripts from elsewhere."""

    def __init__(self, custom_styles_directory: str | None = None, custom_views_directory: str | None = None) -> None:
        super().__init__(custom_styles_directory, custom_views_directory)
        self.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), self.env.loader])


def build() -> None:
    """Write a page for each suite and for each result that has none yet, and the table of them all."""
    site, results = settings().reports / "data-docs", settings().home / "expectations/validations"
    newest = list(_newest(results, site / "validations"))
    ctx = context()
    suites = [f"{schema}.{table}" for schema in ("landing", "marts") for table in tables(schema)]
    for name in suites:
        ctx.suites.add(suite(name, import_module(f"expectations.suites.{name.replace('.', '_')}").EXPECTATIONS))
    missing = {path.relative_to(results).with_suffix("").parts for path in newest if not _page(path, results, site).exists()}
    keys = [key for key in ctx.validation_results_store.list_keys() if key.to_tuple() in missing]
    ctx.build_data_docs(resource_identifiers=[*ctx.stores["expectations_store"].list_keys(), *keys], build_index=False)
    # pictures and fonts that our pages do not show
    shutil.rmtree(site / "static", ignore_errors=True)
    shutil.copy(TEMPLATES / "style.css", site)
    partitions: dict[str, dict[str, Any]] = defaultdict(dict)
    for path in newest:
        name, key = ".".join(path.relative_to(results).parts[:-3]), path.parts[-3]
        partitions[key][name] = _summary(path) | {"page": _page(path, results, site).relative_to(site).as_posix()}
    index = Page().env.get_template("index.j2").render(suites=suites, partitions=dict(sorted(partitions.items())))
    (site / "index.html").write_text(index)


def _page(path: Path, results: Path, site: Path) -> Path:
    return (site / "validations" / path.relative_to(results)).with_suffix(".html")


def _newest(results: Path, pages: Path) -> Iterator[Path]:
    """The newest result of each suite on each partition; older ones go, with their pages: reading all of them takes longer each time."""
    for partition in sorted({path.parent.parent for path in results.rglob("*.json")}):
        *older, last = sorted(partition.iterdir())
        for run in older:
            shutil.rmtree(run)
            shutil.rmtree(pages / run.relative_to(results), ignore_errors=True)
        yield from last.glob("*.json")


def _summary(path: Path) -> dict[str, Any]:
    """What the table says of one result."""
    result = json.loads(path.read_text())
    failed: dict[str, list[str]] = {then: [] for then in FOLLOWS}
    for each in result["results"]:
        if not each["success"]:
            config = each["expectation_config"]
            failed[config["meta"]["then"]].append(config["kwargs"].get("column") or config["kwargs"].get("column_A") or "rows")
    return {
        "worst": next((then for then, columns in failed.items() if columns), "held"),
        "held": result["statistics"]["successful_expectations"],
        "expectations": result["statistics"]["evaluated_expectations"],
        "failed": [f"{FOLLOWS[then]}: {', '.join(columns)}" for then, columns in failed.items() if columns],
        "checked": result["meta"]["run_id"]["run_time"],
    }


if __name__ == "__main__":
    build()
