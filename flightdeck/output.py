"""What a person reads: progress while it works, the table at the end. Colours and the moving line only on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from flightdeck import status
from flightdeck.ledger import ENDED
from flightdeck.settings import settings
from flightdeck.warehouse import Row

STATES = {"failed": "[red]failed   [/]", "published": "[green]published[/]", "done": "[green]done     [/]"}


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; what it yields is told (done, of all or None)."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} " + what), TimeElapsedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


class Progress:
    """Lines for what has happened; on a terminal also one moving line for what runs now."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._status = self.console.status("") if self.console.is_terminal else None
        self._begun, self._noted = time.monotonic(), ""

    def __enter__(self) -> "Progress":
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def note(self, text: str) -> None:
        """Something that goes on; said once however often it is told."""
        if text == self._noted:
            return
        self._noted = text
        if self._status:
            self._status.update(text)
        else:
            self._line(text)

    def tell(self, row: Row, seconds: float) -> None:
        """A stage has ended or failed."""
        if row["state"] not in STATES:
            return
        facts = row["facts"]
        # what a person wants to know of it at once: the error, the verdict, or why nothing was done
        detail = facts.get("error") or facts.get("decision") or facts.get("reason") or ""
        self._line(f"{row['partition_key']}  {row['stage']:9} {STATES[row['state']]}  {seconds:5.1f} s  {' '.join(detail.splitlines()[:1])}")
        # the farthest out of each table, which comes first; the page of charts has them all
        for unusual in {text.split()[0]: text for text in reversed(facts.get("unusual", []))}.values() if row["state"] in ENDED else []:
            self._line(f"{row['partition_key']}  {row['stage']:9} [yellow]unusual  [/]           {escape(unusual)}")

    def running(self, rows: list[Row]) -> None:
        if self._status:
            now = datetime.now(UTC)
            parts = [f"{row['partition_key']} {row['stage']} {(now - row['at']).total_seconds():.0f} s" for row in rows]
            self._status.update(", ".join(parts) or "waiting for Airflow")

    def _line(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self._begun:6.1f} s  {text}", soft_wrap=True)


def _number(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)


def _print(shown: Table) -> None:
    console = Console(highlight=False)
    # a pipe has no width: then nothing needs to be cut
    (console if console.is_terminal else Console(width=180, highlight=False)).print(shown)


def table(keys: list[str]) -> None:
    """A row a partition: what came in, what the champion did with it, what became of the challenger, and why."""
    grain = settings().partitions
    shown = Table(title=f"log loss: the champion's on the whole {grain}, the challenger's on its last days", title_style="dim")
    for name in (grain, "rows", "quarantined", "drift", "champion", "log loss", "AUC", "challenger", "log loss", "decision"):
        shown.add_column(name, justify="left" if name in (grain, "decision") else "right", no_wrap=True)
    shown.add_column("why", overflow="fold")
    for row in (row for row in status.partitions() if row["key"] in keys):
        shown.add_row(
            row["key"], _number(row["raw"], ",d"), _number(row["quarantined"], "d"), _number(row["drift_share"], ".0%"),
            _number(row["champion"], "d"), _number(row["champion_log_loss"], ".4f"), _number(row["auc"], ".3f"),
            _number(row["challenger"], "d"), _number(row["challenger_log_loss"], ".4f"), row["decision"] or "–", "; ".join(row["reasons"]),
        )  # fmt: skip
    _print(shown)


def comparison(rows: list[dict[str, Any]], title: str) -> None:
    """A row an experiment, the best first."""
    shown = Table(title=title, title_style="dim")
    for name in ("settings", "log loss", "AUC", "calibration", "model tests", "run"):
        shown.add_column(name, justify="right" if name in ("log loss", "AUC", "calibration") else "left", no_wrap=name == "run")
    for row in rows:
        figures = (_number(row["log_loss"], ".4f"), _number(row["auc"], ".3f"), _number(row["calibration"], "+.3f"))
        shown.add_row(escape(row["settings"]), *figures, escape("; ".join(row["failures"]) or "passed"), row["run_id"])
    _print(shown)


def moves(rows: list[Row]) -> None:
    """A row a move of a release, oldest first, with the reasons; what was seen in a state stands with the move after it."""
    shown, grain = Table(), settings().partitions
    for name in ("at", "version", "state", "share", grain, "why", "seen before"):
        shown.add_column(name, justify="right" if name in ("version", "share") else "left", no_wrap=name in ("at", "state", grain), overflow="fold")
    for row in rows:
        seen = ", ".join(f"{name} {value:.3g}" for name, value in row["evidence"].items() if isinstance(value, int | float) and name != "share")
        why = escape("; ".join(row["reasons"]))
        share = f"{row['share']:.0%}" if row["state"] == "canary" else ""
        shown.add_row(f"{row['at']:%Y-%m-%d %H:%M:%S}", str(row["model_version"]), row["state"], share, row["partition_key"], why, seen)
    _print(shown)


def quarantined(rows: list[dict[str, Any]], rates: list[dict[str, Any]]) -> None:
    """A row a table, partition, expectation and state, with one of its rows; then each table's rate, partition by partition."""
    shown = Table()
    for name in ("table", "partition", "state", "rows", "of landed", "expectation", "for example"):
        shown.add_column(name, justify="right" if name in ("rows", "of landed") else "left", no_wrap=name in ("table", "partition", "state"), overflow="fold")
    for row in rows:
        sample, state = row["sample"], f"{row['state']} by {row['rule']}" if row["rule"] else row["state"]
        values = [f"{name} {value}{_then(sample, name)}" for name, value in sample["values"].items()]
        figures = (_number(row["rows"], ",d"), _number(row["share"], ".3%"))
        shown.add_row(
            row["source_table"], row["partition_key"], state, *figures, row["expectation"], escape(f"{sample['entity_key'] or ''}: {', '.join(values)}")
        )
    _print(shown)
    for table_ in dict.fromkeys(row["source_table"] for row in rows):
        trend = [f"{rate['partition_key']} {rate['rate']:.3%}" for rate in rates if rate["source_table"] == table_]
        Console(highlight=False).print(f"held, of what landed: {table_}: {', '.join(trend[-12:])}", soft_wrap=True)


def _then(sample: dict[str, Any], name: str) -> str:
    repaired = sample.get("repaired", {})
    return f" → {repaired[name]}" if name in repaired else ""
