"""The commands of those who operate the platform: set-up, backup, restore, releases between environments."""

from pathlib import Path
from typing import TextIO

import click
import psutil

from flightdeck import stack
from flightdeck.doctor import MEMORY_GB
from flightdeck.friendly import friendly


@click.command()
@friendly
def migrate() -> None:
    """Make databases, roles, tables and buckets; `up` does it by itself.

    For where something else starts the services, such as Compose or Kubernetes.
    """
    from flightdeck.output import Progress
    from governance import grants

    memory = psutil.virtual_memory().total / 1e9
    if memory < MEMORY_GB:
        raise stack.StackError(f"this machine, or the engine's, has {memory:.1f} GB of memory; the platform needs {MEMORY_GB}")
    with Progress() as progress:
        stack.migrate(progress.note)
        grants.withhold()


@click.command()
@click.argument("place", type=click.Path(path_type=Path, file_okay=False))
@click.option("--secrets", type=click.Path(path_type=Path, file_okay=False), help="A folder for the secrets, on another medium than the data.")
@friendly
def backup(place: Path, secrets: Path | None) -> None:
    """Write everything that holds state into the folder PLACE.

    Databases, objects, reports and logs, with checksums. Without the secrets it cannot be read in full: keep both, apart.
    Let no month be on its way.
    """
    from flightdeck import backup as backups
    from flightdeck.output import Progress

    with Progress() as progress:
        manifest = backups.backup(place, secrets, progress.note)
    click.echo(f"{len(manifest['tables'])} tables and {len(manifest['files'])} files in {place}")


@click.command()
@click.argument("place", type=click.Path(path_type=Path, exists=True, file_okay=False))
@friendly
def restore(place: Path) -> None:
    """Put the backup in PLACE in place of what is there, and compare each table with it.

    The backup's secrets must be in the state folder first. Only PostgreSQL and the objects may run; docs/operations.md has the steps.
    """
    from flightdeck import backup as backups
    from flightdeck.output import Progress

    with Progress() as progress:
        stack.make_databases()
        stack.make_buckets()
        manifest = backups.restore(place, progress.note)
    click.echo(f"restored what was written at {manifest['at']}; {len(manifest['tables'])} tables are equal to it")


@click.group()
def release() -> None:
    """Carry what serves from one environment to another, as one file.

    \b
    staging$ flightdeck release export > release.json
    prod$    flightdeck release import release.json
    prod$    flightdeck experiment --promote RUN
    """


@release.command(name="export")
@friendly
def export() -> None:
    """Print the release that serves, model included, as JSON."""
    from ml.transfer import TransferRefused, export

    try:
        click.echo(export())
    except TransferRefused as error:
        raise click.ClickException(str(error)) from None


@release.command(name="import")
@click.argument("file", type=click.File())
@friendly
def take_in(file: TextIO) -> None:
    """Check the release in FILE (- is the standard input), and log it as a run; print the run, for `experiment --promote`."""
    from ml.transfer import TransferRefused, take_in

    try:
        click.echo(take_in(file.read(), file.name))
    except TransferRefused as error:
        raise click.ClickException(str(error)) from None
