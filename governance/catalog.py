"""The catalog as one page of the reports site: `python -m governance.catalog`. Tables, columns, owners, classes, freshness, quality, lineage; searchable."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from flightdeck import site
from flightdeck.warehouse import query
from governance.lineage import Dataset, Graph, graph

# partitions of a data set's quality that are shown
PARTITIONS = 13
# when a partition of each data set was last brought or built, and what its checks found
TOLD = """
select distinct on (partition_key, stage) partition_key, stage, at, facts from ops.ledger
where stage in ('ingest', 'timetable', 'transform', 'plan') and state in ('published', 'done') order by partition_key desc, stage, id desc"""
HELD = "select source_table, partition_key, count(*) as n from quarantine.rows where state = 'held' group by 1, 2"


def build() -> Path:
    """Write reports/catalog/index.html, in place of the one before; returns where it is."""
    lineage, quality = graph(), history()
    shown = [each for each in lineage.in_order() if not each.name.endswith("_batch")]
    parts = {"sections": "".join(_section(lineage, each, quality.get(each.name, [])) for each in shown), "consumers": "".join(_consumers(lineage))}
    columns = sum(len(each.columns) for each in shown)
    return site.replace("catalog", PAGE.format(style=STYLE, script=SCRIPT, count=len(shown), columns=columns, **parts))


def history() -> dict[str, list[dict[str, Any]]]:
    """{data set: [{"key", "at", "expectations", "failed", "held"}]}, the newest partitions first; of what is brought by month or built."""
    held = {(row["source_table"], row["partition_key"]): row["n"] for row in query(HELD)}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in query(TOLD):
        key, facts = row["partition_key"], row["facts"]
        for name, check in facts.items():
            if name.startswith(("checked_landing_", "checked_marts_")):
                schema, _, table = name.removeprefix("checked_").partition("_")
                dataset = f"{'raw' if schema == 'landing' else schema}.{table}"
                rows = facts.get(f"published_{table}") if schema == "landing" else facts.get("rows", {}).get(table)
                told = {"key": key, "at": row["at"], "rows": rows, "held": held.get((table, key), 0) if schema == "landing" else 0}
                found.setdefault(dataset, []).append(told | {"expectations": check["expectations"], "failed": check["failed"]})
    return found


def _section(lineage: Graph, dataset: Dataset, quality: list[dict[str, Any]]) -> str:
    fresh = f"newest partition {quality[0]['key']}, brought {quality[0]['at']:%Y-%m-%d %H:%M} UTC" if quality else "by no partition of its own"
    readers = [each.name for each in lineage.consumers if dataset.name in each.reads]
    below = [each.name for each in lineage.datasets.values() if dataset.name in each.upstream and not each.name.endswith("_batch")]
    facts = [
        ("owner", escape(dataset.owner or "–")),
        ("kind", f"{dataset.kind}{f', contract version {dataset.version}' if dataset.contracted else ''}"),
        ("freshness", fresh),
        ("made of", _links(dataset.upstream)),
        ("goes into", _links(below)),
        ("read by", escape(", ".join(readers) or "–")),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    columns = "".join(_column(lineage, dataset.name, name) for name in dataset.columns)
    table = f"<table><tr><th>column<th>type<th>class<th>description<th>computed from</tr>{columns}</table>"
    return (
        f'<section id="{escape(dataset.name)}"><h2>{escape(dataset.name)}</h2><p>{escape(dataset.description)}</p><dl>{listed}</dl>'
        f"{_quality(quality)}<details><summary>{len(dataset.columns)} columns</summary>{table}</details></section>"
    )


def _links(names: list[str]) -> str:
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names) or "–"


def _column(lineage: Graph, dataset: str, name: str) -> str:
    column = lineage.datasets[dataset].columns[name]
    classification = lineage.classification(f"{dataset}.{name}")
    cells = [f"<b>{escape(name)}</b>", escape(column.type), f"<i class={classification or 'none'}>{classification or '–'}</i>", escape(column.description)]
    origins = [f'<a href="#{escape(each.rpartition(".")[0])}">{escape(each)}</a>' for each in column.origins]
    return f'<tr id="{escape(f"{dataset}.{name}")}"><td>{"<td>".join([*cells, ", ".join(origins)])}</tr>'


def _quality(quality: list[dict[str, Any]]) -> str:
    if not quality:
        return ""
    cells = []
    for each in reversed(quality[:PARTITIONS]):
        failed = ", ".join(f"{name} in {rows}" for name, rows in each["failed"].items()) or "all held"
        mark = "held" if each["held"] else "failed" if each["failed"] else "good"
        title = f"{each['key']}: {each['rows'] or 0:,} rows, {each['expectations']} expectations, {failed}; {each['held']} rows in quarantine"
        cells.append(f'<span class={mark} title="{escape(title)}">{each["key"]}</span>')
    return f'<p class=quality>{"".join(cells)} <small><a href="../data-docs/">Data Docs</a> · <a href="../quality/">control charts</a></small></p>'


def _consumers(lineage: Graph) -> Iterator[str]:
    for each in lineage.consumers:
        told = f'<a href="mailto:{escape(each.told)}">{escape(each.told)}</a>' if each.told else "–"
        cells = [f"<b>{escape(each.name)}</b>", escape(each.kind), escape(each.owner), told, _links(each.reads), escape(each.description)]
        yield f"<tr><td>{'<td>'.join(cells)}</tr>"


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b2430}a{color:#0b5cad;text-decoration:none}
input{font:inherit;width:100%;padding:.5rem;border:1px solid #9aa7b5;border-radius:.3rem;position:sticky;top:.5rem;background:#fff}
section{border-top:1px solid #d6dde5;padding:.5rem 0}h2{margin:.4rem 0 0;font-size:1.1rem}p{margin:.2rem 0}
dl{display:grid;grid-template-columns:7rem 1fr;margin:.4rem 0;gap:0 .6rem}dt{color:#5b6b7b}dd{margin:0}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.15rem .5rem;border-bottom:1px solid #e6ebf0;vertical-align:top}
.personal{color:#b3261e;font-weight:600}.internal{color:#7a5b00}.public,.none{color:#5b6b7b}
.quality span{font-size:.75rem;padding:.1rem .3rem;margin-right:.2rem;border-radius:.2rem;background:#dff2e1}
.quality .held{background:#fbe3b5}.quality .failed{background:#eceff2}.gone{display:none}"""
# finds in names, owners, classes and descriptions, and opens what holds it
SCRIPT = """
const box=document.querySelector('input'),all=[...document.querySelectorAll('section')];
const look=()=>{const word=box.value.trim().toLowerCase();for(const one of all){const hit=!word||one.textContent.toLowerCase().includes(word);
one.classList.toggle('gone',!hit);const inner=one.querySelector('details');
inner.open=!!word&&hit&&inner.textContent.toLowerCase().includes(word);
for(const row of inner.querySelectorAll('tr[id]'))row.classList.toggle('gone',!!word&&inner.open&&!row.textContent.toLowerCase().includes(word))}};
box.addEventListener('input',look);if(location.hash.length>1&&document.getElementById(location.hash.slice(1)))location.hash=location.hash;"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Catalog</title><style>{style}</style>
<h1>Catalog</h1><p>{count} data sets, {columns} columns; from the dbt project's files, and from what the ledger knows of each partition.</p>
<input type="search" placeholder="a table, a column, an owner, a class, a word of a description" aria-label="search">
{sections}
<h2>Consumers</h2><table><tr><th>name<th>kind<th>owner<th>told<th>reads<th>what it is</tr>{consumers}</table><script>{script}</script></html>
"""


if __name__ == "__main__":
    build()
