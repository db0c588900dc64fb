"""The control charts as one page of the reports site: `python -m expectations.charts`. Inline SVG, nothing from elsewhere; what is unusual comes first."""

from datetime import date
from html import escape
from pathlib import Path

from expectations.control import Judged, configuration, judge
from expectations.profile import history
from expectations.watch import flags, number
from flightdeck import site
from flightdeck.warehouse import connect, query

# a page that a browser opens at once, however long the history and however wide the tables
PARTITIONS, CHARTS, FLAGS = 13, 150, 200
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 124, 46, 8, 8, 18
FIRST = ("rows", "freshness_hours")
Series = dict[tuple[str, bool], list[Judged]]


def build() -> Path:
    """Write reports/quality/index.html from ops.profiles, in place of the one before; returns where it is."""
    newest = {row["source_table"]: row["key"] for row in query("select source_table, max(partition_key) as key from ops.profiles group by 1 order by 1")}
    charts = {source: _series(source, key) for source, key in newest.items()}
    found = {source: _flags(source, series) for source, series in charts.items()}
    # where there is something to see comes first
    sources = sorted(charts, key=lambda source: -len(found[source]))
    parts = {"links": " ".join(map(_link, sources)), "flags": _listed([flag for those in found.values() for flag in those])}
    return site.replace("quality", PAGE.format(style=STYLE, sections="".join(_section(source, charts[source]) for source in sources), **parts))


def _series(source: str, newest: str) -> Series:
    """(metric, by day) → its values of the partitions shown, each judged as its own watch did: from what was before it."""
    settled, series = configuration(), Series()
    with connect() as connection:
        past = history(connection, source, newest, settled["partitions"]["history"] + PARTITIONS, date.min)
    keys = list(past)
    for place in range(max(len(keys) - PARTITIONS, 0), len(keys)):
        window = {key: past[key] for key in keys[max(place - settled["partitions"]["history"], 0) : place + 1]}
        for one in judge(source, window, settled, keys[place]):
            series.setdefault((one.metric, one.day is not None), []).append(one)
    return series


def _flags(source: str, series: Series) -> list[tuple[str, str]]:
    """(partition, text) of each flag."""
    judged = [one for values in series.values() for one in values]
    return [(key, flag.text) for key in {one.key for one in judged} for flag in flags(source, [one for one in judged if one.key == key])]


def _listed(found: list[tuple[str, str]]) -> str:
    newest_first = sorted(found, key=lambda flag: flag[0], reverse=True)
    items = "".join(f"<li>{escape(text)}</li>" for _, text in newest_first[:FLAGS])
    more = f"<p>and {len(found) - FLAGS} earlier ones</p>" if len(found) > FLAGS else ""
    return f"<ol class=flags>{items}</ol>{more}" if items else "<p>Nothing was unusual.</p>"


def _link(source: str) -> str:
    return f'<a href="#{escape(source)}">{escape(source)}</a>'


def _section(source: str, series: Series) -> str:
    judged = [one for values in series.values() for one in values]
    without, unusual = sum(one.low is None for one in judged), sum(one.excess > 0 for one in judged)
    told = f"{len(judged):,} values, {unusual} of them unusual; {without:,} had too short a history: no limits yet."
    constant = {place for place, values in series.items() if place[0] not in FIRST and len({one.value for one in values}) == 1}
    varied = [place for place in series if place not in constant]
    # the sort is stable: volume and freshness, then what was unusual by day, then as a whole
    first = sorted((place for place in varied if place[0] in FIRST or any(one.excess for one in series[place])), key=lambda it: (it[0] not in FIRST, not it[1]))
    drawn = [*first, *(place for place in varied if place not in first)][:CHARTS]
    parts = [f'<h2 id="{escape(source)}">{escape(source)}</h2><p>{told}</p>', _grid(series, drawn[: len(first)])]
    for title, by_day in (("by day", True), ("by partition", False)):
        those = [place for place in drawn[len(first) :] if place[1] is by_day]
        parts.append(_folded(f"Usual all along, {title}: {len(those)} charts", _grid(series, those)) if those else "")
    same = sorted(f"{metric[:120]} {number(series[metric, by_day][0].value)}" for metric, by_day in constant)
    parts.append(_folded(f"Always the same: {len(same)}", escape(", ".join(same)[:20_000])) if same else "")
    parts.append(f"<p>{len(varied) - CHARTS} more are in ops.profiles and not drawn.</p>" if len(varied) > CHARTS else "")
    return "".join(parts)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _grid(series: Series, places: list[tuple[str, bool]]) -> str:
    return f"<div class=grid>{''.join(_figure(metric, by_day, series[metric, by_day]) for metric, by_day in places)}</div>"


def _figure(metric: str, by_day: bool, values: list[Judged]) -> str:
    grain = "by day" if by_day else "by partition"
    return f"<figure><figcaption>{escape(metric[:80])} <small>{grain}</small></figcaption>{Chart(values).svg()}</figure>"


class Chart:
    """One series with its limits: the band is what was usual then, a red mark what was not."""

    def __init__(self, values: list[Judged]) -> None:
        self.values = values
        usual = [one.value for one in values if not one.excess] or [one.value for one in values]
        lowest, highest = min(usual), max(usual)
        limits = [limit for one in values for limit in (one.low, one.high) if limit is not None]
        # limits and marks farther out than this stand at the edge, or they would flatten all else
        margin = (highest - lowest) * 0.7 or abs(highest) * 0.1 or 1.0
        self.low = max(min([lowest, *limits]), lowest - margin)
        self.high = min(max([highest, *limits]), highest + margin)
        self.high = self.high if self.high > self.low else self.low + margin

    def x(self, place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(self.values)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    def svg(self) -> str:
        marks = "".join(self._mark(place, one) for place, one in enumerate(self.values) if one.excess or len(self.values) <= PARTITIONS)
        line = " ".join(f"{self.x(place):.1f},{self.y(one.value):.1f}" for place, one in enumerate(self.values))
        axes = f'<path class=axis d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{self._band()}{axes}{self._labels()}<polyline points="{line}"/>{marks}</svg>'

    def _band(self) -> str:
        """The limits as steps, a value wide; nothing where there are none yet."""
        runs: list[list[tuple[float, float, float]]] = [[]]
        half = (self.x(1) - self.x(0)) / 2
        for place, one in enumerate(self.values):
            if one.low is None or one.high is None:
                runs.append([])
            else:
                runs[-1] += [(self.x(place) + side, self.y(one.low), self.y(one.high)) for side in (-half, half)]
        outlines = [[(x, high) for x, _, high in run] + [(x, low) for x, low, _ in reversed(run)] for run in runs if run]
        return "".join(f'<polygon points="{" ".join(f"{x:.1f},{y:.0f}" for x, y in outline)}"/>' for outline in outlines)

    def _labels(self) -> str:
        heights = [(self.y(value), number(value)) for value in (self.low, (self.low + self.high) / 2, self.high)]
        sides = "".join(f'<text x="{LEFT - 4}" y="{y + 3:.1f}" class=end>{text}</text>' for y, text in heights)
        ends = [str(one.day or one.key) for one in (self.values[0], self.values[-1])]
        below = f'<text x="{LEFT}" y="{HEIGHT - 5}">{escape(ends[0])}</text>'
        return sides + below + (f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" class=end>{escape(ends[1])}</text>' if len(self.values) > 1 else "")

    def _mark(self, place: int, one: Judged) -> str:
        limits = "no limits yet" if one.low is None or one.high is None else f"usual {number(one.low)} to {number(one.high)}"
        title = f"<title>{escape(str(one.day or one.key))}: {number(one.value)}, {limits}</title>"
        x, y = self.x(place), self.y(one.value)
        size = 'r="4" class="unusual"' if one.excess else 'r="2"'
        side = ' class="end"' if x > WIDTH / 2 else ""
        beyond = "" if self.low <= one.value <= self.high else f'<text x="{x + (-7 if side else 7):.1f}" y="{y + 3:.1f}"{side}>{number(one.value)}</text>'
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" {size}>{title}</circle>{beyond}'


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:78rem;margin:2rem auto;padding:0 1rem;color:#1b2430;background:#fff}
a{color:#0b5cad;margin-right:1em}h2{margin-top:2.5rem;border-top:1px solid #d9dee5;padding-top:1rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(21rem,1fr));gap:.4rem 1.2rem}
figure{margin:0}figcaption{font-weight:600;font-size:.85rem;overflow-wrap:anywhere}small{font-weight:400;color:#5d6875}
summary{cursor:pointer;margin:.8rem 0;color:#0b5cad}.flags{max-height:22rem;overflow:auto;font-size:.9rem}
svg{width:100%;height:auto;font-size:9px;fill:#5d6875}svg .end{text-anchor:end}svg .axis{fill:none;stroke:#aab3bf}
polygon{fill:#dbe9f7}polyline{fill:none;stroke:#34608f;stroke-width:1.2}circle{fill:#34608f}circle.unusual{fill:#d1301f;stroke:#fff}
.key{display:inline-block;width:.9em;height:.9em;vertical-align:-.1em}
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Control charts</title><style>{style}</style>
<h1>Control charts</h1>
<p>What was measured of each batch before anything of it was set aside. <span class=key style="background:#dbe9f7"></span> usual, by what was before it;
<span class=key style="background:#d1301f"></span> unusual; without a band the history is too short to say. Hold the pointer over a mark for its numbers.</p>
<p>{links}</p><h2>Unusual, the newest first</h2>{flags}{sections}</html>
"""


if __name__ == "__main__":
    build()
