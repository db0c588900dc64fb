"""`python -m world`: the outside world's own command line; without a command it fills the sources and serves."""

import math
import re
from typing import Any, Protocol

import click
import psycopg

import world
from flightdeck.settings import MissingSecret, settings
from world import api_faults, database_faults, file_faults
from world.faults import KINDS, WHAT, Fault, Refused


class Source(Protocol):
    """What each source's faults offer."""

    FAULTS: Any

    def inject(self, fault: Fault) -> str: ...
    def heal(self) -> str | None: ...


SOURCES: dict[str, Source] = {"database": database_faults, "api": api_faults, "files": file_faults}


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """The outside world of the worked example: a database, a REST API, files.

    \b
    Without a command it fills the database, lays the files and serves the API;
    `flightdeck up` starts it so. The commands let its sources do what real
    sources do, while it runs, and put them back:
      python -m world faults
      python -m world inject late_rows 2013-02 --source database --percent 5
      python -m world heal
    """
    if context.invoked_subcommand is None:
        serve()


def serve() -> None:
    """Fill the database and lay the files, once; then answer as the REST API."""
    import uvicorn

    from world import database, files, timetable
    from world.api import app

    database.load()
    files.drop()
    timetable.publish()
    uvicorn.run(app, host=settings().bind, port=settings().port_world, access_log=False)


@main.command()
def faults() -> None:
    """List the faults, the sources that can have them, and the kinds of poison."""
    for name, what in WHAT.items():
        click.echo(f"{name:<25}{', '.join(_able(name)):<22}{what}")
    for kind, what in KINDS.items():
        click.echo(f"{f'poison --kind {kind}':<25}{', '.join(_able(f'poison {kind}')):<22}{what}")


def _able(label: str) -> list[str]:
    """The sources that can have the fault, by its name or its name and kind."""
    return [source for source, module in SOURCES.items() if any(label in (each, each.split()[0]) for each in module.FAULTS)]


def _month(_: click.Context, __: click.Parameter, key: str) -> str:
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", key) or not world.FIRST <= key <= world.LAST:
        raise click.BadParameter(f"{key!r} is not a month of {world.FIRST}..{world.LAST}")
    return key


def _finite(_: click.Context, __: click.Parameter, number: float) -> float:
    # a range lets NaN through, and slow takes no infinity
    if not math.isfinite(number):
        raise click.BadParameter(f"{number} is not a finite number")
    return number


@main.command()
@click.argument("name", metavar="FAULT", type=click.Choice(list(WHAT)))
@click.argument("month", callback=_month)
@click.option("--source", type=click.Choice(list(SOURCES)), help="Only this source; without it, each that can have the fault.")
@click.option(
    "--percent", callback=_finite, type=click.FloatRange(0, 100, min_open=True), default=1.0, show_default=True, help="Of rows (at least 1), requests."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which rows: the same month, percentage and seed choose the same ones.")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Of poison.")
@click.option("--seconds", callback=_finite, type=click.FloatRange(0), default=3.0, show_default=True, help="Of slow.")
@click.option("--file", type=click.Choice(list(file_faults.COLUMNS)), help="Only this one of the files.")
def inject(source: str | None, **choices: Any) -> None:
    """Let the running sources have FAULT in MONTH (YYYY-MM), until `heal`.

    \b
    `python -m world faults` lists them. Several may be active at once.
      python -m world inject corrections 2013-02
      python -m world inject poison 2013-02 --kind nan --source api
      python -m world inject errors 2013-02 --percent 50
      python -m world inject truncated_file 2013-02 --file timetable
    """
    fault = Fault(**choices)
    if (fault.name == "poison") != bool(fault.kind):
        raise click.UsageError(f"poison needs --kind ({', '.join(KINDS)}), and nothing else has one")
    able = _able(fault.label)
    if source and source not in able:
        raise click.UsageError(f"{source} cannot have {fault.label}; {', '.join(able)} can")
    for each in [source] if source else able:
        _told(each, lambda module: f"{fault.label} in {fault.month}: {module.inject(fault)}")


@main.command()
def heal() -> None:
    """Put every source back exactly as it was before its first fault."""
    for source in SOURCES:
        _told(source, lambda module: module.heal() or "has no fault")


def _told(source: str, act: Any) -> None:
    """Say what was done; what goes wrong in a known way is one message with its cure."""
    try:
        click.echo(f"{source}: {act(SOURCES[source])}")
    except psycopg.OperationalError as error:
        raise click.ClickException(f"{source}: does not answer ({str(error).strip()}); is it up? `flightdeck up`") from None
    except (MissingSecret, Refused) as error:
        raise click.ClickException(f"{source}: {error}") from None


if __name__ == "__main__":
    main()
