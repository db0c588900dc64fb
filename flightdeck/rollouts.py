"""The commands around what serves: back to another version, and what served when."""

import json
from datetime import UTC, datetime

import click

from flightdeck import deployments
from flightdeck.friendly import friendly
from flightdeck.registry import RegistryError


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--reason", default="said on the command line", show_default=True, help="Kept with it.")
@friendly
def rollback(version: int | None, reason: str) -> None:
    """Serve what served before, or VERSION, which must have served: within two seconds, and without a failed request.

    A release on trial is retired with it. Nothing is deleted: the same command with the other version goes forward again.
    """
    from flightdeck.warehouse import connect
    from serving import deploy, rollout

    begun = datetime.now(UTC)
    try:
        before, now, row = deployments.roll_back(version, reason)
    except deployments.NothingToRollBackTo as error:
        raise click.ClickException(str(error)) from None
    with connect() as connection:
        rollout.await_workers(connection, row)
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
