"""The command `drill`: an incident in the stack that is up, how the platform answers it by itself, and everything put back."""

from collections.abc import Callable
from functools import partial

import click

from flightdeck import deployments, impostors, ledger, stack
from flightdeck.friendly import friendly
from flightdeck.settings import settings
from flightdeck.warehouse import connect, lock, query
from flightdeck.watch import Failed, NotReady, Watch, champion_release, until

# every label of these partitions comes so much later, or is taken back
SHIFT = "update marts.labels set known_at = known_at + %s * interval '24 hours' where partition_key = any(%s)"
# longer than two months, and LATE_SECONDS
LATER_DAYS = 120
# monitoring/prometheus/rules/platform.yml has the same
DRIFTED_PSI, DRIFTED_SHARE, LATE_SECONDS = 0.25, 0.6, 40 * 86400
A_REQUEST = 500


def _gauges(service: str, name: str) -> dict[str, float]:
    """{the first label's value: value} of a metric."""
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    text = httpx.get(settings().url(service) + "/metrics", headers=settings().authorization, timeout=20).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == name]
    return {sample.labels[next(iter(sample.labels))]: sample.value for sample in samples}


def drift(watch: Watch) -> None:
    """Requests whose every feature is where the training had next to nothing."""
    import httpx
    import numpy as np

    from flightdeck import shift
    from flightdeck.parameters import parameters
    from ml.features import FEATURES
    from serving.rollout import RECENT
    from serving.window import LAST

    release = champion_release()
    if not release.get("profile"):
        raise NotReady(f"version {release['model_version']} was trained before releases had profiles; deploy one of now")
    rows = [[row["features"].get(name) for name in FEATURES] for row in query(RECENT, LAST)]
    if len(rows) < LAST:
        raise NotReady(f"{LAST} requests of the newest partition are needed, there are {len(rows)}")
    usual = dict(zip(FEATURES, np.array(rows, dtype=np.float64).T, strict=True))
    moved = [shift.psi(bins["shares"], shift.shares(bins["edges"], usual[name])) for name, bins in release["profile"].items() if name in usual]
    if sum(value > DRIFTED_PSI for value in moved) > DRIFTED_SHARE * len(moved):
        raise NotReady("what was asked last has drifted itself, so nothing could be put back to usual; ask for rows of a whole month first")
    beyond = [2 * abs(edges[-1]) + 1 if (edges := release["profile"][name]["edges"]) else None for name in FEATURES]
    url = f"{settings().url('serving')}/v2/models/{parameters()['model']['name']}/infer"

    def ask(asked: list[list[float | None]]) -> None:
        with httpx.Client(headers=settings().authorization | {"x-purpose": "drill"}, timeout=30) as client:
            for some in (asked[at : at + A_REQUEST] for at in range(0, len(asked), A_REQUEST)):
                tensor = {"name": "features", "datatype": "FP64", "shape": [len(some), len(FEATURES)], "data": some}
                client.post(url, json={"inputs": [tensor]}).raise_for_status()

    def share() -> float:
        found = _gauges("serving", "flightdeck_input_psi")
        return sum(value > DRIFTED_PSI for value in found.values()) / len(found) if found else 0.0

    watch.say(f"{LAST:,} requests of purpose `drill`, each feature beyond what the training had")
    with watch.reacting():
        ask([beyond] * LAST)
        until("the service's metrics do not show the drift", 60, lambda: share() > DRIFTED_SHARE)
    watch.say(f"{share():.0%} of the features are reported as drifted: where Prometheus runs, LiveInputsDrift is raised")
    ask(rows)
    until("the service still reports drift", 60, lambda: share() <= DRIFTED_SHARE)
    watch.say(f"after as many usual requests: {share():.0%}")


def late_labels(watch: Watch) -> None:
    """The labels of the two newest partitions become known months later."""
    from flightdeck.partitions import partition
    from monitoring.measure import labels, performance

    published = ledger.published()
    if len(published) < 3:
        raise NotReady("three published partitions are needed: `flightdeck replay 2013-01 2013-03` first")
    key, late = published[-1], published[-2:]
    closes = partition(key).closes

    def age() -> float:
        return _gauges("reports", "flightdeck_age_seconds").get("labels", 0.0)

    # nothing of them is built anew meanwhile, so that it is the same labels that are put back
    with connect() as connection, lock(connection, "build"):
        connection.execute(SHIFT, (LATER_DAYS, late))
        try:
            watch.say(f"no label of {', '.join(late)} is known before {LATER_DAYS} days have passed")
            with watch.reacting():
                until("the metrics do not show that labels are late", 60, lambda: age() > LATE_SECONDS)
            watch.say(f"labels are {age() / 86400:.0f} days behind the requests: where Prometheus runs, LabelsLate is raised")
            told = performance(key, closes)
            coverage = labels(key, closes)["label_coverage"]
            watch.say(f"{key} as of its closing: {coverage:.0%} of the labels; performance: {told.get('performance', told['log_loss'])}")
            if told["log_loss"] is not None:
                raise Failed("it was measured by labels that nobody could know")
        finally:
            connection.execute(SHIFT, (-LATER_DAYS, late))
    until("labels are still late", 60, lambda: age() <= LATE_SECONDS)
    watch.say(f"put back: {labels(key, closes)['label_coverage']:.0%} of the labels of {key}")


def registry_down(watch: Watch) -> None:
    """MLflow is stopped, and the service has to start without it."""
    import httpx

    from serving.workers import await_workers

    if settings().manager == "none":
        raise NotReady("in containers, stop MLflow with `docker compose stop mlflow`, restart `serving`, and look at GET /health")
    before = champion_release()["model_version"]

    def version() -> int | None:
        try:
            found: int | None = httpx.get(settings().url("serving") + "/health", timeout=5).json()["model_version"]
        except httpx.HTTPError:
            return None
        return found

    stack.manager().stopProcess("mlflow", True)
    try:
        watch.say("MLflow is stopped, and the service is started anew")
        stack.manager().stopProcess("serving", True)
        with watch.reacting():
            stack.start(["serving"])
            until("the service does not answer without the registry", 90, lambda: version() == before)
        watch.say(f"version {before} serves, from the service's own disk")
    finally:
        stack.start(["mlflow", "serving"])
        stack.wait(["mlflow", "serving"], 120)
    with connect() as connection:
        await_workers(connection, deployments.standing(connection)[2])
    watch.say("MLflow is up again")


DRILLS: dict[str, Callable[[Watch], None]] = {
    **{kind: partial(impostors.deploy, kind) for kind in impostors.VERSIONS},
    "drift": drift,
    "late-labels": late_labels,
    "registry-down": registry_down,
}


@click.command()
@click.argument("name", type=click.Choice([*DRILLS]))
@friendly
def drill(name: str) -> None:
    """Inject an incident into the stack that is up, wait for the platform's own reaction, say how long it took, and put everything back.

    \b
    bad-model       a release that says the contrary is deployed
    slow-model      one that takes too long for a row
    tampered-model  one whose file is not the one that was released
    drift           requests far from what the model was trained on
    late-labels     labels that come four months later
    registry-down   the service starts while MLflow is down

    Nobody's answer is of a drill's model, and what is asked has the purpose `drill`, which counts nowhere. The moves stay in
    `flightdeck history`, by versions from 1000001 on. Exit code 1 when the platform did not react as it promises.
    """
    watch = Watch()
    try:
        DRILLS[name](watch)
    except (NotReady, Failed) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{name}: the platform reacted after {watch.reaction:.1f} s")
