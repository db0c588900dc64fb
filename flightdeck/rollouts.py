"""The commands around what serves: a file of predictions, back to another version, and what served when."""

import getpass
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from flightdeck import deployments
from flightdeck.friendly import friendly
from flightdeck.registry import RegistryError


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rows", default=1000, show_default=True, type=click.IntRange(1, 10_000), help="Rows a request.")
@click.option(
    "--purpose", default="live", show_default=True, type=click.Choice(["live", "probe"]), help="As the prediction log tells it; a probe's count nowhere."
)
@friendly
def predict(source: Path, target: Path, rows: int, purpose: str) -> None:
    """Predict each row of SOURCE into TARGET, by the service that is up; each is CSV or Parquet, by its name.

    SOURCE has a column for each field of an instance of POST /predict, what is nested by its own name; what must be there and is
    not is named. TARGET has all of SOURCE's columns, and prediction_id, probability, label and model_version. Rows that the
    service refuses are in a file beside it, TARGET's name with .refused.csv, each with the reason; then the exit code is 1.

    \b
    flightdeck predict tomorrow.csv answers.parquet
    """
    from flightdeck.output import bar
    from serving import batch

    begun = time.monotonic()
    try:
        with bar("rows") as progress:
            told = batch.predict(source, target, rows, purpose, progress)
    except batch.BatchFailed as error:
        raise click.ClickException(str(error)) from None
    seconds = time.monotonic() - begun
    versions = ", ".join(map(str, sorted(told.versions))) or "none"
    click.echo(f"{told.answered:,} rows in {target}, by version {versions}, in {seconds:.1f} s: {told.answered / seconds:,.0f} a second")
    if told.passed_on:
        click.echo(f"passed on as they are, for no field is called so: {', '.join(told.passed_on)}")
    if told.refused:
        click.echo(f"{told.refused:,} rows were refused: {target.with_name(f'{target.stem}.refused.csv')} says why", err=True)
        sys.exit(1)


@click.command()
@click.option("--to", "version", type=click.IntRange(min=1), metavar="VERSION", help="Which; without it: what served before.")
@click.option("--reason", default="said on the command line", show_default=True, help="Kept with it.")
@friendly
def rollback(version: int | None, reason: str) -> None:
    """Serve what served before, or another version that has served: within two seconds, and without a failed request.

    A release on trial is retired with it. Nothing is deleted: the same command with the other version goes forward again.

    \b
    flightdeck rollback
    flightdeck rollback --to 11 --reason "the drift report of March"
    """
    from flightdeck.warehouse import connect
    from serving import deploy, workers

    begun = datetime.now(UTC)
    try:
        before, now, row = deployments.roll_back(version, reason, getpass.getuser())
    except deployments.NothingToRollBackTo as error:
        raise click.ClickException(str(error)) from None
    try:
        with connect() as connection:
            workers.await_workers(connection, row)
    except workers.NotServed as error:
        raise click.ClickException(f"version {now} is to serve instead of {before}, and will as soon as the service can: {error}") from None
    seconds = (datetime.now(UTC) - begun).total_seconds()
    click.echo(f"version {now} serves instead of {before}, in every worker, after {seconds:.2f} s")
    try:
        deploy.reconcile()
    except RegistryError as error:
        # what serves does not hang on it
        click.echo(f"the registry's alias follows with the next deployment: {error}", err=True)


@click.command()
@click.option("--at", metavar="TIME", help="ISO 8601, in UTC unless it says otherwise; without it: now.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def history(at: str | None, as_json: bool) -> None:
    """Show every move of a release, and what served at a time.

    \b
    flightdeck history
    flightdeck history --at 2026-01-31T12:00
    """
    try:
        until = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        raise click.UsageError(f"--at {at!r}: expected ISO 8601, like 2026-01-31T12:00:00Z") from None
    rows = deployments.history(until if until.tzinfo else until.replace(tzinfo=UTC))
    served = next((row for row in reversed(rows) if row["state"] == "champion"), None)
    if as_json:
        click.echo(json.dumps({"served": served, "moves": rows}, indent=2, default=str))
        return
    from flightdeck.output import moves

    moves(rows)
    if served:
        click.echo(
            f"served: version {served['model_version']}, sha256 {served['sha256']}, MLflow run {served['run_id']}, since {served['at']:%Y-%m-%dT%H:%M:%S%z}"
        )
    else:
        click.echo("nothing served")
