"""The commands that answer where something comes from, and what it has touched."""

import json
import sys
from typing import Any

import click

from flightdeck.friendly import friendly


def _show(found: Any, tree: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    # a pipe has no width: then nothing needs to be cut
    (console if console.is_terminal else Console(width=200, highlight=False)).print(tree(found), soft_wrap=True)


@click.command()
@click.argument("prediction_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--check", is_flag=True, help="Instead: walk every edge that there is, and name what points at nothing; exit 1 if anything.")
@friendly
def trace(prediction_id: str | None, as_json: bool, check: bool) -> None:
    """Show what a prediction comes from: release, model, MLflow run, commit, snapshot, dbt builds, checks, loads, source rows.

    PREDICTION_ID is as POST /predict answers it; its first 8 digits will do.

    \b
    flightdeck trace 0c8e7d52
    flightdeck trace --check
    """
    if check == bool(prediction_id):
        raise click.UsageError("give a PREDICTION_ID, or --check")
    from governance import tree
    from governance.edges import EDGES, orphans
    from governance.trace import NotFound
    from governance.trace import trace as follow

    if check:
        found = orphans()
        click.echo(json.dumps({"orphans": found}, indent=2) if as_json else "\n".join(found) or f"no orphans: {len(EDGES) + 4} kinds of edges resolve")
        if found:
            sys.exit(1)
        return
    try:
        told = follow(prediction_id or "")
    except NotFound as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(told, indent=2, default=str))
    else:
        _show(told, tree.trace)


@click.command()
@click.argument("dataset")
@click.option("--partition", "key", metavar="K", help="Of this partition only, and of what was built on it.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def impact(dataset: str, key: str | None, as_json: bool) -> None:
    """Show what a data set has touched: features, snapshots, models, releases, predictions, and who reads them.

    DATASET is a table, a column, or a row in quarantine.

    \b
    flightdeck impact marts.labels --partition 2013-02
    flightdeck impact marts.features.leg
    flightdeck impact quarantine.rows.1
    """
    from governance import tree
    from governance.impact import impact as follow
    from governance.lineage import UnknownDataset

    try:
        told = follow(dataset, key)
    except UnknownDataset as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(told, indent=2, default=str))
    else:
        _show(told, tree.impact)
