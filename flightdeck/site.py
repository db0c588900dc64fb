"""The static site's own pages: a start page, the list of drift reports, and what stands where a tool's pages come later."""

import json
import tempfile
from html import escape
from pathlib import Path

from flightdeck.settings import settings

# the folder of the versions' pages
MODELS = "models"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1b2430}}a{{color:#0b5cad}}</style>
<h1>{title}</h1><p>{text}</p><ul>{items}</ul></html>
"""


def _write(path: Path, title: str, text: str, links: list[tuple[str, str]]) -> None:
    items = "".join(f'<li><a href="{escape(href)}">{escape(label)}</a></li>' for href, label in links)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAGE.format(title=escape(title), text=escape(text), items=items))


def _version(number: int) -> str:
    """The version, with the newest word of the gate on it."""
    verdicts = sorted((settings().reports / MODELS / str(number)).glob("gate-*.json"), key=lambda path: int(path.stem.rpartition("-")[2]))
    facts = json.loads(verdicts[-1].read_text()) if verdicts else None
    return f"version {number}: {facts['decision']} for {facts['partition_key']}" if facts else f"version {number}"


def replace(name: str, text: str) -> Path:
    """Write the page reports/<name>/index.html in place of the one before, so that nobody reads half of it; returns where it is."""
    target = settings().reports / name / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, suffix=".new", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    return Path(file.name).replace(target)


def write() -> None:
    """Write the pages from what is there now."""
    root = settings().reports
    reports = sorted(path.stem for path in (root / "drift").glob("????-??.html"))
    text = "A partition against what the champion of its time was trained on." if reports else "None yet: the first needs a champion to compare with."
    _write(root / "drift" / "index.html", "Drift reports", text, [(f"{key}.html", key) for key in reports])
    numbers = sorted((int(path.parent.name) for path in (root / MODELS).glob("*/index.html")), reverse=True)
    text = "Each registered version: its card, the gate's verdicts, approvals." if numbers else "None yet: nothing was trained."
    _write(root / MODELS / "index.html", "Models", text, [(f"{number}/index.html", _version(number)) for number in numbers])
    for name, title in (("data-docs", "Data Docs"), ("dbt", "dbt docs"), ("quality", "Control charts"), ("year", "The year"), ("catalog", "Catalog")):
        if not (root / name / "index.html").exists():
            _write(root / name / "index.html", title, "None yet: they are built at the end of a replay.", [])
    pages = [("drift/index.html", "Drift reports"), ("data-docs/index.html", "Data Docs: every checkpoint's results"), ("dbt/index.html", "dbt docs")]
    pages.append((f"{MODELS}/index.html", "Models: card and evidence of each version"))
    pages.append(("quality/index.html", "Control charts: what was unusual in each batch"))
    pages.append(("year/index.html", "The year: what served, what would have without retraining, and each decision"))
    pages.append(("catalog/index.html", "Catalog: tables, columns, owners, classes, lineage"))
    pages.append(("alerts/", "Alerts: of the stages, and of Prometheus's rules"))
    _write(root / "index.html", "Flightdeck reports", "Written by the stages; open to whoever can reach this address.", pages)
