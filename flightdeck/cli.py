"""The command line: `flightdeck --help` lists the commands."""

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import click

from flightdeck import deployments, drills, launch, operations, partitions, privacy, provenance, quarantine, rebuild, rollouts, stack
from flightdeck.friendly import friendly
from flightdeck.settings import settings

if TYPE_CHECKING:
    from flightdeck.output import Progress


# what is written at the end of a replay, each by a process of its own
PAGES = {
    "gx": "expectations.docs",
    "dbt": "flightdeck.transform",
    "quality": "expectations.charts",
    "year": "monitoring.year",
    "catalog": "governance.catalog",
    "lineage": "governance.events",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Flightdeck: one loop from sources to a served, monitored, retrained model.

    \b
    Start with `flightdeck doctor`, then `flightdeck up`, then
    `flightdeck replay 2013-01 2013-03`. State is in .flightdeck/
    (FLIGHTDECK_HOME names another place); deleting it is a factory reset.
    """
    os.environ |= launch.common()


@main.command()
@friendly
def doctor() -> None:
    """Say what this machine lacks; exit 1 if anything."""
    from flightdeck.doctor import findings

    found = findings()
    for finding in found:
        mark = click.style("ok   ", fg="green") if finding.ok else click.style("error", fg="red")
        click.echo(f"{mark} {finding.what}" + ("" if finding.ok else f": {finding.cure}"))
    if not all(finding.ok for finding in found):
        sys.exit(1)


@main.command()
@friendly
def up() -> None:
    """Start the stack, wait until it is healthy, print where to look."""
    from flightdeck.output import Progress

    with Progress() as progress:
        _up(progress)
    _where()


@main.command()
@friendly
def down() -> None:
    """Stop the stack; data stay."""
    stopped = stack.down()
    click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@main.command()
@click.argument("first", metavar="FROM")
@click.argument("last", metavar="[TO]", required=False)
@click.option("--skip-published", is_flag=True, help="Leave out months that are already through the loop.")
@click.option("--from-raw", is_flag=True, help="Build the marts anew from raw, and ingest nothing.")
@click.option("--wave", type=click.IntRange(min=1), metavar="N", help="Months on their way at once; 3 unless said.")
@friendly
def replay(first: str, last: str | None, skip_published: bool, from_raw: bool, wave: int | None) -> None:
    """Send the months FROM to TO (YYYY-MM, or FROM..TO in one word) through the whole loop, in Airflow.

    Doing a month again re-does its ingestion, checks and dbt; its requests, trainings, verdicts and deployments stay facts. Later
    months are built anew where what the month hands on to them has changed.
    """
    import world
    from flightdeck import replay as loop
    from flightdeck.output import Progress, table
    from monitoring.year import months, sentence, worth

    keys = partitions.span(f"{first}..{last}" if last else first)
    if outside := [key for key in keys if not world.FIRST <= key[:7] <= world.LAST]:
        raise click.UsageError(f"{outside[0]} is outside of what the world has: {world.FIRST}..{world.LAST}")
    begun = time.monotonic()
    with Progress() as progress:
        _up(progress)
        wanted = loop.unfinished(keys) if skip_published else keys
        if wanted:
            try:
                loop.replay(wanted, progress.tell, progress.running, ["transform"] if from_raw else loop.PRODUCERS, wave or loop.AT_ONCE)
            except KeyboardInterrupt:
                raise click.ClickException(
                    "interrupted; what has begun goes on in Airflow: `flightdeck status` shows it, the same command follows it"
                ) from None
            progress.note("building Data Docs, dbt docs, the catalog, the charts of quality and the page of the year")
            stack.side_by_side("document", {name: ([sys.executable, "-m", module], {}) for name, module in PAGES.items()})
        else:
            progress.note("all of them are through already; `flightdeck replay` without --skip-published does them again")
    table(keys)
    if found := worth(months()):
        click.echo(sentence(found))
    _where()
    grain = settings().partitions if len(wanted) == 1 else f"{settings().partitions}s"
    click.echo(f"{len(wanted)} {grain} in {time.monotonic() - begun:.0f} s")


@main.command()
@click.option("--set", "settings_", metavar="NAME=VALUE", multiple=True, help="A parameter of params.yaml; VALUE,VALUE is a sweep.")
@click.option("--partition", metavar="KEY", help="The newest partition to train on; by default the newest published.")
@click.option("--promote", metavar="RUN", help="Send an experiment's model through the gate, and deploy it if it passes.")
@friendly
def experiment(settings_: tuple[str, ...], partition: str | None, promote: str | None) -> None:
    """Try other parameters: the same pipeline, under MLflow's experiments, and nothing that serves changes.

    \b
    flightdeck experiment --set train.num_leaves=63
    flightdeck experiment --set train.num_leaves=15,31 --set train.learning_rate=0.03,0.05
    flightdeck experiment --set train.learner=logistic
    flightdeck experiment --promote RUN

    The table compares them with the champion, on days that no experiment was trained on. --promote takes one through
    the same gate as any training.
    """
    if promote and (settings_ or partition):
        raise click.UsageError("--promote takes a run as it is: it goes with no other option")
    from flightdeck.output import Progress, comparison
    from ml import experiment as trying
    from ml.tracking import TRIALS, experiment_name

    if promote:
        from flightdeck.replay import answer

        with Progress() as progress:
            trained = trying.promote(promote)
            progress.note(f"{trained['partition_key']}: version {trained['outputs']['release']['model_version']} is registered; Airflow judges it")
            verdict = answer("gate", trained)["facts"]
            progress.note(f"{verdict['decision']}: {'; '.join(verdict['reasons'])}")
            if verdict["decision"] == "promoted" and not verdict["approval"]:
                deployed = answer("deploy", trained)["facts"]
                progress.note(f"version {deployed['model_version']} serves")
        if verdict["decision"] != "promoted":
            sys.exit(1)
        return
    key = trying.newest(partition)
    with Progress() as progress:
        rows = trying.trials(list(settings_), key, progress.note)
    comparison(rows, f"on the last days of {key}, which no experiment was trained on")
    click.echo(f"\n  {settings().public_url('mlflow')}  {experiment_name(TRIALS)}: plots, parameters, models")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def status(as_json: bool) -> None:
    """Show the services' health and each partition's figures; exit 1 if a service is not healthy."""
    from flightdeck import status as now
    from flightdeck.output import table

    services = now.services()
    reachable = services["postgres"]["healthy"]
    found, champion = (now.partitions(), deployments.champion()) if reachable else ([], None)
    if as_json:
        click.echo(json.dumps({"services": services, "champion": champion and champion["model_version"], "partitions": found}, indent=2))
    else:
        for name, service in services.items():
            mark = click.style("healthy ", fg="green") if service["healthy"] else click.style("down    ", fg="red")
            click.echo(f"{mark} {name:9} {service['url']}")
        if found:
            table([partition["key"] for partition in found])
    if not all(service["healthy"] for service in services.values()):
        sys.exit(1)


@main.command()
@click.argument("name", type=click.Choice(["airflow", "lake", "mlflow", "reports", "serving", "warehouse", "world"]))
@friendly
def url(name: str) -> None:
    """Print a URL that works as it is: with user and password where one is needed.

    warehouse is read-only, for psql, SQLAlchemy and BI tools; lake is a folder or a URI of Parquet, for DuckDB and pandas.
    """
    if name == "warehouse":
        inside = f"@{settings().at('postgres')}:{settings().port_postgres}/"
        click.echo(settings().database_url("reader").replace(inside, f"@{settings().host}:{settings().public_port('postgres')}/"))
    elif name == "lake":
        click.echo(settings().lake)
    else:
        click.echo(settings().public_url(name, "admin" if name in ("airflow", "mlflow") else ""))


def _up(progress: "Progress") -> None:
    """Doctor first: what is missing is said before anything is started."""
    from flightdeck.doctor import findings
    from governance import grants

    if settings().manager != "none" and (bad := [f"{finding.what}: {finding.cure}" for finding in findings() if not finding.ok]):
        raise stack.StackError("\n  ".join(["this machine is not ready:", *bad]))
    stack.up(progress.note)
    grants.withhold()


def _where() -> None:
    click.echo("")
    for name, what in {
        "airflow": "the DAGs, and all the others in its navigation",
        "mlflow": "experiments and the registry",
        "serving": "POST /predict, GET /health, GET /metrics",
        "reports": "drift reports, Data Docs, dbt docs",
    }.items():
        click.echo(f"  {name:9} {settings().public_url(name):24} {what}")
    click.echo("\n  sign in to Airflow and MLflow as admin; the passwords:")
    click.echo(f"  {settings().home}/secrets/airflow_admin and mlflow_admin (or: flightdeck url airflow)")


for command in (
    operations.migrate,
    operations.backup,
    operations.restore,
    operations.release,
    rollouts.predict,
    rollouts.rollback,
    rollouts.history,
    provenance.trace,
    provenance.impact,
    privacy.erase,
    privacy.export,
    rebuild.reproduce,
    drills.drill,
    quarantine.quarantine,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
