"""The commands for the people whose data these are: what there is of them, and that they are forgotten."""

import json
import sys
from pathlib import Path

import click

from flightdeck.friendly import friendly


def _subject(name: str) -> str:
    """`-` is the standard input: what stands on a command line is in the shell's history."""
    return sys.stdin.readline() if name == "-" else name


@click.command()
@click.argument("subject")
@click.option("--verify", is_flag=True, help="Erase nothing: say where anything leads to SUBJECT; exit 1 if anywhere.")
@click.option("--backup", "backups", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="A backup to look through, too.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def erase(subject: str, verify: bool, backups: tuple[Path, ...], as_json: bool) -> None:
    """Erase a person from every store, destroy the key of their pseudonym, search all stores again, and write a receipt.

    SUBJECT is as requests name them; - reads it from the standard input. Row counts stay, and so do predictions, which say nothing
    of who asked. It may run again, and then goes on.
    """
    from flightdeck.output import Progress
    from governance import erasure

    name = _subject(subject)
    try:
        with Progress() as progress:
            tell = (lambda _: None) if as_json else progress.note
            found = erasure.find(name, list(backups), tell) if verify else {}
            done = {} if verify else erasure.erase(name, list(backups), tell)
    except erasure.TooShort as error:
        raise click.UsageError(str(error)) from None
    except erasure.NotErased as error:
        raise click.ClickException(f"not all is erased, the same command goes on: {error}") from None
    if as_json:
        click.echo(json.dumps(found if verify else done, indent=2))
    elif verify:
        click.echo("\n".join(f"{store}: {place}" for store, places in found.items() for place in places) or "nothing leads to this subject")
    else:
        for store, told in done["stores"].items():
            click.echo(f"{store:24} {told['did']}" + (f" ({told['found']})" if told["found"] else ""))
        versions = ", ".join(map(str, done["versions"]))
        click.echo(
            f"versions that learned from it: {versions}; the next decision asks for a training" if versions else "no model has learned from what was found"
        )
        click.echo(f"receipt {done['receipt']}")
    if verify and found:
        sys.exit(1)


@click.command(name="export")
@click.argument("subject")
@friendly
def export(subject: str) -> None:
    """Print all that there is of a person, as JSON: what was asked in their name, rows that name them, and wherever else they are found.

    SUBJECT is as requests name them; - reads it from the standard input. That it was read is in the ledger. A row may name others,
    too: read it before you hand it over.
    """
    from governance import erasure

    try:
        click.echo(json.dumps(erasure.export(_subject(subject)), indent=2, default=str))
    except erasure.TooShort as error:
        raise click.UsageError(str(error)) from None
