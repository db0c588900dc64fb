"""The commands around rows in quarantine: what is held, what the repair rules would make of it, and its way through the loop once more."""

import json
import sys

import click

from flightdeck import held, partitions
from flightdeck.friendly import friendly


@click.group()
def quarantine() -> None:
    """Rows that failed a check: list them, judge the repair rules on them, and replay what these cure.

    A rule is a file in expectations/repairs/. Each ingestion applies all of them, so that a row which its source sends again
    is repaired again; without its rule it is held again. docs/quarantine.md shows one.
    """


@quarantine.command(name="list")
@click.option("--table", metavar="T", help="Of this source table only.")
@click.option("--partition", "key", metavar="K", help="Of this partition only.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@friendly
def list_(table: str | None, key: str | None, as_json: bool) -> None:
    """Show the rows in quarantine, by table, partition, expectation and state, and each table's quarantine rate over the partitions."""
    if key:
        partitions.partition(key)
    rows, rates = held.groups(table, key), held.rates(table)
    if as_json:
        click.echo(json.dumps({"rows": rows, "rates": rates}, indent=2))
    elif rows:
        from flightdeck.output import quarantined

        quarantined(rows, rates)
    else:
        click.echo("nothing is in quarantine")


@quarantine.command()
@click.argument("rule", required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be; mark nothing.")
@friendly
def repair(rule: str | None, dry_run: bool) -> None:
    """Judge all repair rules, or RULE, on the rows that are held, and mark as `repaired` those that then pass all checks.

    Each row is put in its partition's place beside the others, and the table's whole suite looks at them. Nothing is published:
    `flightdeck quarantine replay` does that. Exit code 1 when a rule does not cure a row that it means.
    """
    from expectations.repair import repair as judge

    told = judge(rule, dry_run)
    for row in told.rows:
        changes = ", ".join(f"{name} {json.dumps(before)} → {json.dumps(after)}" for name, (before, after) in row.changes.items()) or "as it is"
        verdict = f"refused, {row.fault}" if row.fault else "would be repaired" if dry_run else "repaired"
        click.echo(f"{row.table} {row.key} {row.entity_key}  {row.rule}: {changes}: {verdict}")
    for name in told.idle:
        click.echo(f"{name}: means no row that is held")
    if not told.rows and not told.idle:
        click.echo("there is no rule; docs/quarantine.md shows one")
    if told.unreadable:
        click.echo(f"{told.unreadable} held row(s) could not be read at all: no rule reaches them, only their source, or the contract")
    good = sum(row.fault is None for row in told.rows)
    if good and not dry_run:
        click.echo(f"{good} row(s) wait for `flightdeck quarantine replay`")
    if good < len(told.rows):
        sys.exit(1)


@quarantine.command()
@click.option("--partition", "key", metavar="K", help="This partition only.")
@friendly
def replay(key: str | None) -> None:
    """Send the partitions with rows that are marked as repaired through ingest, check, publish and transform once more, in Airflow.

    Says what has become of each row; exit code 1 when one is still not published.
    """
    from flightdeck import replay as loop
    from flightdeck.output import Progress

    if key:
        partitions.partition(key)
    rows = held.marked(key)
    if not rows:
        click.echo("no row waits to be replayed; `flightdeck quarantine repair` marks those that a rule cures")
        return
    keys = sorted({row["partition_key"] for row in rows})
    with Progress() as progress:
        # what began before may have read the rules as they were
        loop.settle(keys, progress.note)
        loop.replay(keys, progress.tell, progress.running, _dags({row["source_table"] for row in rows}))
    became = [held.became(row) for row in rows]
    for row, now in zip(rows, became, strict=True):
        click.echo(f"{row['source_table']} {row['partition_key']} {row['entity_key']}  {now}")
    if any(now.startswith(("held", "repaired")) for now in became):
        sys.exit(1)


def _dags(tables: set[str]) -> list[str]:
    """The DAGs that begin with these tables' sources, `ingest` among them, which all that is built from raw follows."""
    from flightdeck.contracts import contracts
    from ingestion.load import STAGES

    sources = {contracts()[table].source for table in tables}
    return [stage for stage in sorted(STAGES, reverse=True) if stage == "ingest" or sources & set(STAGES[stage])]
