"""A release's way to all of the traffic: shadow, then a canary's growing share of requests, each judged by what was logged; or back.

The evidence is technical: failures, time, and how far the answers are from the champion's. Whether a model is better was the gate's question.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from statistics import fmean
from typing import Any

import httpx

from flightdeck import alert, deployments, ledger
from flightdeck.deployments import Move, Overtaken
from flightdeck.parameters import parameters
from flightdeck.predictions import await_logged
from flightdeck.registry import Tampered
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, Row, connect, lock
from ml.features import FEATURES
from serving.release import ReleaseRefused, load
from serving.workers import NotServed, await_workers

# of a rehearsal's requests; a canary's share is of requests, so they are small
ROWS_A_REQUEST = 5
# so many times as many requests as the candidate's share of them should take, if each had one row
MOST_ROUNDS = 4
# for which the champion may be still on its way to the workers
TAKES_UP_SECONDS = 10
# rows that differ, so that what one of them says counts once
RECENT = """
with last as (select entity_id, features from ops.predictions where purpose in ('replay', 'live') order by logged_at desc limit 50000)
select entity_id, features from (select min(entity_id) as entity_id, features from last group by features) asked
order by md5(entity_id || features::text) limit %s"""
# where less has been asked: what could have been, the newest partition first
PUBLISHED = """
select entity_id, to_jsonb(f) as features from (
    select f.* from marts.features f join ops.published p using (partition_key) where entity_id <> all(%s)
    order by partition_key desc, md5(entity_id) limit %s) f"""
# the candidate's answers since its state began, each with the one that was given instead of it, if it was in shadow
CANDIDATE = """
select c.probability, c.seconds, a.probability as champion from ops.predictions c
left join ops.predictions a on a.prediction_id = c.shadows
where c.model_version = %s and c.logged_at >= %s
    -- in shadow; as a canary, what it has answered, and what it could not
    and case when %s > 0 then c.purpose <> 'shadow' or c.shadows is null else c.purpose = 'shadow' end"""
CHAMPION = """
select probability, seconds from ops.predictions where model_version = %s and logged_at >= %s and purpose <> 'shadow'"""


@dataclass(frozen=True)
class Evidence:
    """What a candidate has shown in one state. Times are lower quartiles of a row's; `difference` is the mean distance from the champion's answers to the
    same rows, `shift` the distance of the means where the rows were others. None: it could not be seen."""

    rows: int
    failures: int
    milliseconds: float | None
    champion_milliseconds: float | None
    difference: float | None
    shift: float | None


def judge(evidence: Evidence, wanted: int, policy: dict[str, Any]) -> list[str]:
    """Reasons against going on; empty: it goes on. A pure function, of params.yaml's `rollout` and what was seen of `wanted` rows."""
    against = []
    if evidence.rows < wanted:
        against.append(f"it answered {evidence.rows} of {wanted} rows")
    if evidence.failures > policy["max_failures"]:
        against.append(f"it failed on {evidence.failures} rows")
    slow = max(policy["most_milliseconds"], policy["max_slowdown"] * (evidence.champion_milliseconds or 0))
    if evidence.milliseconds is not None and evidence.milliseconds > slow:
        against.append(f"a row takes it {evidence.milliseconds:.2f} ms, the limit is {slow:.2f}")
    if evidence.difference is not None and evidence.difference > policy["max_difference"]:
        against.append(f"its answers are {evidence.difference:.3f} from the champion's to the same rows, the limit is {policy['max_difference']}")
    if evidence.shift is not None and evidence.shift > policy["max_shift"]:
        against.append(f"its mean answer is {evidence.shift:.3f} from the champion's, the limit is {policy['max_shift']}")
    return against


def roll_out(attempt: ledger.Attempt, release: dict[str, Any], reasons: list[str]) -> list[str]:
    """Bring `release` to all of the traffic, state by state; returns the reasons against it, empty when it is the champion now.

    Raises NotServed when the service does not follow, or traffic does not come. Then nothing is decided, and the same call begins anew.
    """
    policy = parameters()["rollout"]
    # one release at a time: who comes meanwhile waits, and a deployer that dies lets go
    with connect() as connection, lock(connection, "rollout"):
        champion, candidate, row = deployments.standing(connection)
        if champion and champion["model_version"] == release["model_version"]:
            return []
        trial = Trial(connection, attempt.key, release, champion, policy, row)
        try:
            if candidate and candidate["model_version"] != release["model_version"]:
                trial.move(Move("retired", ["its trial ended without a word"]), candidate["release"])
            trial.move(Move("registered", reasons))
            if against := trial.run():
                trial.move(Move("retired", against, trial.shown))
                return _back(attempt, release, against)
            with deployments.following(connection, trial.row):
                deployments.promote(connection, attempt.key, release, reasons, trial.shown)
        except Overtaken as error:
            # by a person: what they decided stands, and what they said of it is with it
            return [str(error)]
        return []


def _nobody_serves(connection: Connection, champion: Row) -> bool:
    """Whether there is nothing to try a release beside: of the workers that are there, none could take up the champion."""
    await_workers(connection, 0)
    deadline = time.monotonic() + TAKES_UP_SECONDS
    while champion["model_version"] not in {worker.version for worker in deployments.workers(connection)}:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def _back(attempt: ledger.Attempt, release: dict[str, Any], against: list[str]) -> list[str]:
    """The champion goes on, and one alert says why."""
    alert.send(attempt, alert.Alert("rollout", "stop", f"version {release['model_version']} was rolled back: {against[0]}", against))
    return against


@dataclass
class Trial:
    """A release on its way, beside the champion's row: the newest row of ops.deployments that it knows of, and the evidence of its last state."""

    connection: Connection
    key: str
    release: dict[str, Any]
    champion: Row | None
    policy: dict[str, Any]
    row: int
    shown: dict[str, Any] = field(default_factory=dict)

    def move(self, move: Move, release: dict[str, Any] | None = None) -> None:
        """Write down a new state of the release, or of another; raises Overtaken."""
        with deployments.following(self.connection, self.row):
            self.row = deployments.record(self.connection, self.key, release or self.release, move)

    def run(self) -> list[str]:
        """All states; returns the reasons against the release, or raises Overtaken."""
        try:
            # by the service once more, before it answers
            load(self.release)
        except (ReleaseRefused, Tampered) as error:
            return [str(error)]
        if self.champion is None or not self.policy["stages"] or _nobody_serves(self.connection, self.champion):
            return []
        return next(filter(None, map(self.stage, self.policy["stages"])), [])

    def stage(self, stage: dict[str, Any]) -> list[str]:
        """Go through one state; returns the reasons against going on, or raises Overtaken."""
        share, wanted = float(stage.get("share", 0)), int(stage["rows"])
        move = Move("canary", [f"{share:.0%} of requests"], self.shown, share) if share else Move("shadow", ["asked, and not answering"])
        self.move(move)
        await_workers(self.connection, self.row)
        begun = self.connection.execute("select clock_timestamp() as now").fetchone()
        assert begun
        if self.policy["traffic"] == "rehearsal":
            self.rehearse(share, wanted)
        evidence = self.await_evidence(begun["now"], share, wanted)
        self.shown = asdict(evidence) | {"state": move.state, "share": share}
        return judge(evidence, wanted, self.policy)

    def rehearse(self, share: float, wanted: int) -> None:
        """Ask again what was asked last, until the candidate has had `wanted` rows. Purpose `probe`: nobody's answers. Raises NotServed."""
        rows = self.rows(int(wanted / (share or 1)) + ROWS_A_REQUEST)
        if len(rows) < wanted:
            raise NotServed(
                f"a release is tried on {wanted} different rows, and no more than {len(rows)} were ever asked or published; params.yaml: rollout.stages"
            )
        had, logged, most = 0, list[str](), int(MOST_ROUNDS * wanted / (share or 1))
        url = f"/v2/models/{parameters()['model']['name']}/infer"
        with httpx.Client(base_url=settings().url("serving"), headers=settings().authorization | {"x-purpose": "probe"}, timeout=30) as client:
            for number, some in enumerate(islice(cycle(batched(rows, ROWS_A_REQUEST)), most)):
                features = [[row["features"].get(name) for name in FEATURES] for row in some]
                inputs = [
                    {"name": "features", "datatype": "FP64", "shape": [len(some), len(FEATURES)], "data": features},
                    {"name": "entity_id", "datatype": "BYTES", "shape": [len(some)], "data": [row["entity_id"] for row in some]},
                ]
                # with a name of its own each: the same request would go the same way
                answer = client.post(url, json={"id": f"{self.row}/{number}", "inputs": inputs})
                answer.raise_for_status()
                found = answer.json()
                logged += next(output["data"] for output in found["outputs"] if output["name"] == "prediction_id")
                had += len(some) if not share or int(found["model_version"]) == self.release["model_version"] else 0
                if had >= wanted:
                    break
        await_logged(logged)

    def rows(self, most: int) -> list[Row]:
        """Of what was asked last, and could have been asked."""
        asked = self.connection.execute(RECENT, (most,)).fetchall()
        if len(asked) == most:
            return asked
        built = self.connection.execute("select to_regclass('marts.features') as marts").fetchone()
        if built and built["marts"]:
            asked += self.connection.execute(PUBLISHED, ([row["entity_id"] for row in asked], most - len(asked))).fetchall()
        return asked

    def await_evidence(self, since: Any, share: float, wanted: int) -> Evidence:
        """Once `wanted` rows of the candidate are in the log; raises NotServed when no traffic has come in the policy's time."""
        deadline = time.monotonic() + self.policy["seconds"]
        while True:
            evidence = self.evidence(since, share)
            if evidence.rows + evidence.failures >= wanted:
                return evidence
            if time.monotonic() > deadline:
                if evidence.rows:
                    return evidence
                raise NotServed(f"version {self.release['model_version']} has had no traffic for {self.policy['seconds']} s that it could be judged by")
            time.sleep(0.05)

    def evidence(self, since: Any, share: float) -> Evidence:
        rows = self.connection.execute(CANDIDATE, (self.release["model_version"], since, share)).fetchall()
        assert self.champion
        given = self.connection.execute(CHAMPION, (self.champion["model_version"], since)).fetchall()
        good = [row for row in rows if row["probability"] == row["probability"]]
        paired = [abs(row["probability"] - row["champion"]) for row in good if row["champion"] is not None]
        others = [row["probability"] for row in given]
        return Evidence(
            rows=len(good),
            failures=len(rows) - len(good),
            milliseconds=_milliseconds(good),
            champion_milliseconds=_milliseconds(given),
            difference=fmean(paired) if paired else None,
            shift=abs(fmean(row["probability"] for row in good) - fmean(others)) if share and good and others else None,
        )


def _milliseconds(rows: list[Row]) -> float | None:
    """What a row took at the lower quartile: a model that is slow is so there, too, and a machine that was busy meanwhile is not."""
    seconds = sorted(row["seconds"] for row in rows if row["seconds"] is not None)
    return seconds[len(seconds) // 4] * 1000 if seconds else None


def batched(rows: list[Row], size: int) -> Iterator[list[Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
