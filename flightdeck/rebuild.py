"""The command that builds a registered version once more."""

import json
import sys
from typing import Any

import click

from flightdeck.friendly import friendly
from flightdeck.registry import RegistryError


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def reproduce(version: int, as_json: bool) -> None:
    """Build VERSION again, from its MLflow run, the code and the data store; exit 1 if anything differs.

    The snapshot comes from the store into an empty cache, the code is this checkout's where it is the same, else the run's commit; then
    it is trained anew. The model file must have the released bytes. Nothing is registered, and nothing is left behind.

    \b
    flightdeck reproduce 3
    """
    from flightdeck.output import Progress
    from ml.reproduce import NotRebuilt
    from ml.reproduce import reproduce as rebuild

    try:
        if as_json:
            found = rebuild(version, lambda _: None)
        else:
            with Progress() as progress:
                found = rebuild(version, progress.note)
    except (NotRebuilt, RegistryError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _tell(found)
    if not found["same"]:
        sys.exit(1)


def _tell(found: dict[str, Any]) -> None:
    for each in found["environment"]:
        click.echo(f"environment  {each['name']}: {each['released']} then, {each['found'] or 'not installed'} here")
    for each in found["differences"]:
        click.echo(f"{each['kind']:12} {each['name']}: {_side(each['released'])} was released, {_side(each['found'])} here")
    count = len(found["differences"])
    verdict = f"{count} {'thing differs' if count == 1 else 'things differ'}" if count else f"the same, byte for byte: sha256 {found['sha256']}"
    click.echo(f"version {found['version']}, in {found['seconds']} s: {verdict}")


def _side(value: Any) -> str:
    return "nothing" if value is None else str(value)
