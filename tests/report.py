"""`make report BASE=origin/main`: what a change does to data and model, as Markdown: report.md.

Two months of real rows go through the stages with the code of BASE. On a copy of its data, dbt then builds what the change has modified and what hangs
on it, by its state; both learn. Then the marts are compared row by row, and the models by their metrics.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from tests.sandbox import environment
from tests.side import BEFORE

ROOT = Path(__file__).resolve().parent.parent
MONTHS = "2013-01..2013-02"
FIGURES = ["log_loss", "auc", "calibration"]


class Sides:
    """The base and the change, one after the other in the state folder `home`: no path in it is another's."""

    def __init__(self, place: Path) -> None:
        self.place, self.home = place, place / "s"
        self.home.mkdir(mode=0o711)
        self.own = environment(str(self.home))

    def run(self, code: Path, what: str) -> dict[str, Any]:
        """What tests/side.py of this folder finds with the code in `code`."""
        target = self.home / "found.json"
        own = self.own | {"PYTHONPATH": str(code), "FLIGHTDECK_CODE": code.name}
        command = [sys.executable, str(ROOT / "tests/side.py"), what, str(target), MONTHS]
        subprocess.run(command, cwd=code, env=os.environ | own, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(target.read_text())
        return found

    def copy(self, source: Path, target: Path) -> None:
        """PostgreSQL's files belong to a user of their own, and stay so."""
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)

    def both(self, base: Path, change: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        self.run(base, "data")
        self.copy(self.home, self.place / "data")
        before = self.run(base, "learn")
        self.home.rename(self.place / "base-state")
        before["lake"] = before["lake"].replace(str(self.home), str(self.place / "base-state"))
        (self.place / "data").rename(self.home)
        (self.home / "dbt").rename(self.home / BEFORE)
        return before, self.run(change, "change")


def built(head: dict[str, Any]) -> str:
    """What dbt built anew of all its models: what the change has modified, and its children."""
    models = {name for stages in head["stages"].values() for stage in ("plan", "transform") for name in (stages[stage] or {}).get("rows", {})}
    return f"built anew, by dbt's state: {', '.join(f'`{name}`' for name in sorted(models)) or 'nothing'}"


def marts(base: str, head: str) -> list[str]:
    """A line a mart: rows that only one side has, and rows that differ, by what identifies them."""
    lines = []
    names = sorted({path.name for place in (base, head) for path in Path(place).iterdir() if path.is_dir()})
    for name in names:
        sides = [f"read_parquet('{place}/{name}/*/*.parquet', hive_partitioning = true)" for place in (base, head)]
        if not all((Path(place) / name).is_dir() for place in (base, head)):
            lines.append(f"| {name} | {'new' if (Path(head) / name).is_dir() else 'gone'} | | | |")
            continue
        columns = [{row[0] for row in duckdb.sql(f"describe select * from {each}").fetchall()} for each in sides]
        both = ", ".join(f'"{column}"' for column in sorted(columns[0] & columns[1]))
        counts = [
            duckdb.sql(f"select count(*) from (select {both} from {one} except all select {both} from {other})").fetchall()[0][0]
            for one, other in (sides, reversed(sides))
        ]
        total = duckdb.sql(f"select count(*) from {sides[1]}").fetchall()[0][0]
        changed = ", ".join(sorted(f"+{column}" for column in columns[1] - columns[0]) + sorted(f"-{column}" for column in columns[0] - columns[1]))
        lines.append(f"| {name} | {total:,} | {counts[0]:,} | {counts[1]:,} | {changed} |")
    return lines


def differences(base: dict[str, str], head: dict[str, str]) -> list[str]:
    """Models and tests of dbt that are new, changed or gone."""
    kinds = {
        name: "new" if name not in base else "gone" if name not in head else "changed" for name in base.keys() | head.keys() if base.get(name) != head.get(name)
    }
    return [f"- `{name}`: {kind}" for name, kind in sorted(kinds.items())] or ["none"]


def metrics(base: dict[str, Any], head: dict[str, Any]) -> list[str]:
    lines = []
    for key in head["stages"]:
        for figure in FIGURES:
            values = [((one["stages"][key]["gate"] or {}).get("challenger") or {}).get(figure) for one in (base, head)]
            if all(value is not None for value in values):
                lines.append(f"| {key} | {figure} | {values[0]:.5f} | {values[1]:.5f} | {values[1] - values[0]:+.5f} |")
        verdicts = [(one["stages"][key]["gate"] or {}).get("decision") for one in (base, head)]
        lines.append(f"| {key} | verdict | {verdicts[0]} | {verdicts[1]} | {'same' if verdicts[0] == verdicts[1] else '**different**'} |")
    return lines


def report(reference: str, base: dict[str, Any], head: dict[str, Any]) -> str:
    parts = [
        f"# What this change does, against {reference}", f"{MONTHS}, real rows, through every stage but serving.",
        "## dbt: changed models, seeds and tests", *differences(base["models"], head["models"]), "", built(head), "",
        "## Marts", "", "| mart | rows | only before | only now | columns |", "| --- | --- | --- | --- | --- |", *marts(base["lake"], head["lake"]),
        "## Model: the challenger on days that it has not seen", "", "| month | figure | before | now | difference |", "| --- | --- | --- | --- | --- |",
        *metrics(base, head),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def main() -> None:
    reference = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="fd-r-") as folder:
        place = Path(folder)
        place.chmod(0o711)
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(place / "base"), reference], check=True)
        try:
            text = report(reference, *Sides(place).both(place / "base", ROOT))
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(place / "base")], check=True)
    (ROOT / "report.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
