"""The evidence of a release: files that stay with its MLflow run, stand on the reports site, and are named in the version's description.

Keeping a file again gives the same; a registry that is down raises RegistryError, which fails the stage, and its retry keeps them.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from flightdeck import registry, site
from flightdeck.settings import settings

# below the run's artifacts
FOLDER = "evidence"
CARD = "card.md"
SCORES = ("log_loss", "auc", "calibration", "base_rate", "rows")
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem;color:#1b2430}}a{{color:#0b5cad}}
table{{border-collapse:collapse}}th,td{{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #d5dbe3}}</style>
{body}</html>
"""


def keep(release: dict[str, Any], name: str, text: str) -> None:
    """Keep `text` as the file `name`; .json is a verdict or an approval."""
    version = release["model_version"]
    registry.put_artifact(f"{release['artifact'].split('/')[0]}/{release['run_id']}/artifacts/{FOLDER}/{name}", text.encode())
    registry.describe(version, _description(release))
    folder = settings().reports / site.MODELS / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / "index.html").write_text(_page(version, folder, release))
    site.write()


def keep_facts(release: dict[str, Any], name: str, facts: dict[str, Any]) -> None:
    """Keep what a stage has found of the release, as JSON."""
    keep(release, f"{name}.json", json.dumps(facts, indent=2, sort_keys=True) + "\n")


def rows(heads: Iterable[Any], lines: Iterable[Iterable[Any]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in (heads, ["---"] * len(heads), *lines)) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


def _in_mlflow(release: dict[str, Any]) -> str:
    return f"{settings().public_url('mlflow')}/#/experiments/{release['artifact'].split('/')[0]}/runs/{release['run_id']}/artifacts/{FOLDER}"


def _description(release: dict[str, Any]) -> str:
    version = release["model_version"]
    page = f"{settings().public_url('reports')}/{site.MODELS}/{version}/"
    return (
        f"[Model card, verdicts and approvals]({page}); the files, and the bill of material of what trained it, are with"
        f" [the run]({_in_mlflow(release)}), under `{FOLDER}/`. `flightdeck reproduce {version}` builds it again."
    )


def _page(version: int, folder: Path, release: dict[str, Any]) -> str:
    from markdown_it import MarkdownIt

    parts = [(folder / CARD).read_text() if (folder / CARD).exists() else f"# Version {version}\n"]
    parts += [
        _told(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"), key=lambda path: (path.stem.rpartition("-")[2].zfill(9), path.name))
    ]
    parts.append(f"## Files\n\n[Evidence of the run in MLflow]({_in_mlflow(release)}), with the bill of material (CycloneDX).\n")
    # no HTML of its own: names and reasons are text
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render("\n".join(parts))
    return PAGE.format(title=escape(f"Model, version {version}"), body=body)


def _told(facts: dict[str, Any]) -> str:
    """A verdict or an approval, as Markdown."""
    if "approved" in facts:
        return f"## Approval of {facts['partition_key']}\n\n{'approved' if facts['approved'] else 'rejected'} by {facts['by']}\n"
    sides = {side: facts[side] for side in ("challenger", "champion") if facts[side]}
    reasons = "".join(f"- {reason}\n" for reason in facts["reasons"])
    table = rows(["on the same rows", *(f"{side}, version {found['model_version']}" for side, found in sides.items())],
                 ([name.replace("_", " "), *(found.get(name) for found in sides.values())] for name in SCORES))  # fmt: skip
    return f"## The gate's verdict on {facts['partition_key']}: {facts['decision']}\n\n{reasons}\n{table}"
