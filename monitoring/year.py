"""The page of the year: what served, month by month, beside what would have without retraining, with the drift, the labels and each decision."""

import io
from collections.abc import Callable
from html import escape
from statistics import mean
from typing import Any

from flightdeck import ledger, site
from flightdeck.settings import settings

PARTITIONS = 13
STAGES = ("estimate", "monitor", "decide", "gate", "deploy")
Month = dict[str, dict[str, Any]]


def months() -> dict[str, Month]:
    """{partition: {stage: facts}} of the newest partitions that were measured."""
    found = {key: {stage: rows[stage]["facts"] if stage in rows else {} for stage in STAGES} for key, rows in ledger.newest().items()}
    return dict([(key, stages) for key, stages in found.items() if stages["monitor"]][-PARTITIONS:])


def worth(found: dict[str, Month]) -> dict[str, Any] | None:
    """What retraining was worth: means over the months that both the served and the frozen model have answered; None where there is none."""
    both = [(stages["monitor"], stages["monitor"]["frozen"]) for stages in found.values() if stages["monitor"].get("frozen") and _known(stages["monitor"])]
    if not both:
        return None
    return {
        "months": len(both),
        **{f"served_{name}": mean(served[name] for served, _ in both) for name in ("log_loss", "auc")},
        **{f"frozen_{name}": mean(frozen[name] for _, frozen in both) for name in ("log_loss", "auc")},
        "lost": [key for key, stages in found.items() if (frozen := stages["monitor"].get("frozen")) and _worse(stages["monitor"], frozen)],
    }


def _known(served: dict[str, Any]) -> bool:
    return served["log_loss"] is not None and served["auc"] is not None


def _worse(served: dict[str, Any], frozen: dict[str, Any]) -> bool:
    return _known(served) and bool(served["log_loss"] > frozen["log_loss"])


def sentence(value: dict[str, Any] | None) -> str:
    """`worth` in words."""
    if value is None:
        return "No month has both been answered and compared with a frozen model yet."
    lost = f"; the frozen one was better in {', '.join(value['lost'])}" if value["lost"] else ""
    return (
        f"With retraining, mean log loss {value['served_log_loss']:.4f} and AUC {value['served_auc']:.3f} over {value['months']} month(s);"
        f" without, {value['frozen_log_loss']:.4f} and {value['frozen_auc']:.3f}{lost}."
    )


def build() -> None:
    """Write reports/year/index.html: one file, that needs nothing from elsewhere."""
    found = months()
    folder = settings().reports / "year"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = "".join(f"<figure>{picture}</figure>" for picture in _pictures(found)) if found else ""
    page = PAGE.format(worth=escape(sentence(worth(found))), pictures=pictures, table=_table(found))
    draft = folder / "index.html.new"
    draft.write_text(page)
    draft.replace(folder / "index.html")
    site.write()


def _pictures(found: dict[str, Month]) -> list[str]:
    def of(stage: str, *path: str) -> list[float | None]:
        values: list[Any] = []
        for stages in found.values():
            value: Any = stages[stage]
            for name in path:
                value = value.get(name) if value else None
            values.append(value)
        return values

    keys = list(found)
    answers = [None if rate is None or gap is None else rate + gap for rate, gap in zip(of("monitor", "base_rate"), of("monitor", "calibration"), strict=True)]
    places = sorted({name for stages in found.values() for name in stages["monitor"].get("segments", {})})
    return [
        _lines(
            "Log loss, lower is better",
            keys,
            {
                "served": of("monitor", "log_loss"),
                "frozen, never retrained": of("monitor", "frozen", "log_loss"),
                "estimated from the answers alone": of("estimate", "log_loss"),
            },
        ),
        _lines(
            "AUC, higher is better",
            keys,
            {"served": of("monitor", "auc"), "frozen, never retrained": of("monitor", "frozen", "auc"), "estimated": of("estimate", "auc")},
        ),
        _lines("Share of positive labels, and the mean probability that was answered", keys, {"labels": of("monitor", "base_rate"), "answers": answers}),
        _lines(
            "On the newest days, which neither was trained on: log loss of challenger and champion",
            keys,
            {"challenger": of("gate", "challenger", "log_loss"), "champion": of("gate", "champion", "log_loss")},
        ),
        _lines(
            "Drift against what the champion was trained on",
            keys,
            {"share of the features": of("monitor", "drift_share"), "of the answers (PSI)": of("monitor", "prediction_psi")},
        ),
        _lines(
            "Share of the labels that are known",
            keys,
            {"at the month's end": of("monitor", "label_coverage_at_end"), "when it closes": of("monitor", "label_coverage")},
        ),
        _lines("Log loss served, by segment", keys, {name: of("monitor", "segments", name, "log_loss") for name in places}),
    ]


def _lines(title: str, keys: list[str], series: dict[str, list[float | None]]) -> str:
    """One picture, as SVG that carries no date and no random id: the same figures give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot(title=title)
    for name, values in series.items():
        axes.plot(range(len(keys)), [float("nan") if value is None else value for value in values], marker="o", markersize=3, label=name)
    axes.set_xticks(range(len(keys)), [key[2:] for key in keys])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    content = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def _table(found: dict[str, Month]) -> str:
    def number(value: Any, form: str = ".4f") -> str:
        return "–" if value is None else format(value, form)

    columns: dict[str, Callable[[str, Month], str]] = {
        "month": lambda key, _: key,
        "served": lambda _, at: number(at["monitor"]["log_loss"]),
        "frozen": lambda _, at: number((at["monitor"].get("frozen") or {}).get("log_loss")),
        "estimated": lambda _, at: number(at["estimate"].get("log_loss")),
        "AUC": lambda _, at: number(at["monitor"]["auc"], ".3f"),
        "AUC frozen": lambda _, at: number((at["monitor"].get("frozen") or {}).get("auc"), ".3f"),
        "retrain?": lambda _, at: ("yes: " if at["decide"].get("retrain") else "no: ") + "; ".join(at["decide"].get("reasons", ["not decided"])),
        "the gate": lambda _, at: f"{at['gate'].get('decision', '–')}: " + "; ".join(at["gate"].get("reasons", [])),
    }
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = (
        f'<tr class="{escape(str(at["gate"].get("decision", "")))}">' + "".join(f"<td>{escape(cell(key, at))}</td>" for cell in columns.values()) + "</tr>"
        for key, at in found.items()
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The year</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b2430}}a{{color:#0b5cad}}
main{{display:grid;grid-template-columns:repeat(auto-fit,minmax(30rem,1fr));gap:1rem;margin-top:1rem}}figure{{margin:0}}
svg{{max-width:100%;height:auto}}table{{border-collapse:collapse;font-size:13px}}
td,th{{padding:.3rem .5rem;border-bottom:1px solid #d6dde6;text-align:left;vertical-align:top}}.refused{{background:#fbeeee}}
.promoted{{background:#eef7ee}}</style>
<h1>The year</h1><p>{worth}</p>{table}<main>{pictures}</main></html>
"""


if __name__ == "__main__":
    build()
