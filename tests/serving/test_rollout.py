"""A release's way: shadow, canary, champion, or back; by evidence from real answers over real HTTP, through the real log."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np
import pytest
from psycopg.types.json import Jsonb

from flightdeck import deployments, ledger
from flightdeck.deployments import Move, NothingToRollBackTo
from flightdeck.parameters import parameters
from flightdeck.predictions import NotLogged, await_logged, logged
from flightdeck.warehouse import Connection, query
from ml.features import FEATURES
from serving import rollout
from serving.answer import identities
from serving.follower import Follower
from serving.release import Release
from serving.rollout import Evidence, judge
from serving.workers import NotServed, await_workers
from tests.serving.conftest import Registry

Make = Callable[..., dict[str, Any]]
POLICY = {**parameters()["rollout"]}
GOOD = Evidence(rows=200, failures=0, milliseconds=0.03, champion_milliseconds=0.03, difference=0.08, shift=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"rows": 199}, ["it answered 199 of 200 rows"]),
        ({"rows": 198, "failures": 2}, ["it answered 198 of 200 rows", "it failed on 2 rows"]),
        ({"milliseconds": 0.99}, []),
        ({"milliseconds": 1.5}, ["a row takes it 1.50 ms, the limit is 1.00"]),
        ({"milliseconds": 1.5, "champion_milliseconds": 0.6}, []),
        ({"milliseconds": None, "champion_milliseconds": None}, []),
        ({"difference": 0.21}, ["its answers are 0.210 from the champion's to the same rows, the limit is 0.2"]),
        ({"difference": None, "shift": 0.16}, ["its mean answer is 0.160 from the champion's, the limit is 0.15"]),
    ],
)
def test_the_judgement_says_what_is_against_it(change: dict[str, Any], said: list[str]) -> None:
    assert judge(Evidence(**(vars(GOOD) | change)), 200, POLICY) == said


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine is at the moment is no question here."""
    monkeypatch.setitem(parameters()["rollout"], "most_milliseconds", 50)
    # the champion of the test before is nowhere any more
    monkeypatch.setattr(rollout, "TAKES_UP_SECONDS", 2)


@pytest.fixture
def recorded(connection: Connection) -> Iterator[Callable[[list[int]], None]]:
    """Requests of a month that were answered, each for the flight of this number: what a rehearsal asks again."""
    key = "2999-01"

    def write(flights: list[int]) -> None:
        features = {number: Jsonb({name: (number * 7 + place) % 19_997 for place, name in enumerate(FEATURES)}) for number in set(flights)}
        rows = [(made, f"2999-01-01T10:00:00Z/UA/{number}", key, features[number]) for made, number in zip(identities(len(flights)), flights, strict=True)]
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at)"
                " values (%s, %s, %s, 'replay', 9000001, 0.5, %s, now())",
                rows,
            )

    yield write
    connection.execute("delete from ops.predictions where partition_key = %s", (key,))


@pytest.fixture
def marts(connection: Connection) -> Iterator[Callable[[int], None]]:
    """A published partition with so many rows of features."""
    attempt = ledger.begin("transform", "2098-02")

    def build(rows: int) -> None:
        columns = ", ".join(f"((n * 7 + {place}) % 19997)::float8" for place in range(len(FEATURES)))
        made = f"select 'made/' || n, '2098-02', {columns} from generate_series(1, {rows}) n"
        connection.execute(f"insert into marts.features (entity_id, partition_key, {', '.join(FEATURES)}) {made}".encode())
        attempt.record("published")

    yield build
    attempt.record("withdrawn")
    connection.execute("delete from marts.features where partition_key = '2098-02'")


@pytest.fixture
def nothing_else_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' months are in the same warehouse."""
    monkeypatch.setattr(rollout, "PUBLISHED", rollout.PUBLISHED.replace("where entity_id", "where partition_key = '2098-02' and entity_id"))


@pytest.fixture
def asked(recorded: Callable[[list[int]], None]) -> None:
    recorded(list(range(1500)))


def moves(version: int) -> list[tuple[str, float]]:
    rows = query("select state, share from ops.deployments where model_version = %s order by id", version)
    return [(row["state"], round(row["share"], 2)) for row in rows]


def attempt(key: str) -> ledger.Attempt:
    return ledger.Attempt("deploy", key, 1)


def changed(models: Registry, made: dict[str, Any], change: Callable[[str], str], booster: Any = None) -> dict[str, Any]:
    """A release of a changed text, with its own checksum and golden answers: all that it promises holds."""
    import hashlib

    text = booster.model_to_string() if booster else change(models.artifacts[made["artifact"]].decode())
    models.artifacts[made["artifact"]] = text.encode()
    rows = made["golden"]["rows"]
    answers = lgb.Booster(model_str=text).predict([[float("nan") if value is None else value for value in row] for row in rows], num_threads=1)
    return made | {"sha256": hashlib.sha256(text.encode()).hexdigest(), "golden": {"rows": rows, "expected": answers.tolist()}}


def opposite(text: str) -> str:
    """The model that says the contrary."""
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if line.startswith("leaf_value="):
            lines[place] = "leaf_value=" + " ".join(str(-40 * float(value)) for value in line.removeprefix("leaf_value=").split())
        elif line.startswith("tree_sizes="):
            lines[place] = ""
    return "\n".join(lines)


def test_a_good_release_comes_to_all_of_the_traffic_state_by_state(release: Make, following: None, asked: None, follower: Follower) -> None:
    first, second = release(), release()
    assert rollout.roll_out(attempt("1993-01"), first, ["first"]) == []
    champion = first["model_version"]
    assert moves(champion) == [("registered", 0), ("champion", 0)]
    assert rollout.roll_out(attempt("1993-02"), second, ["better"]) == [], query("select * from ops.deployments order by id desc limit 3")
    assert moves(second["model_version"]) == [("registered", 0), ("shadow", 0), ("canary", 0.05), ("canary", 0.25), ("champion", 0)]
    assert moves(champion) == [("registered", 0), ("champion", 0), ("retired", 0)]
    rows = query("select state, reasons, evidence from ops.deployments where model_version = %s order by id", second["model_version"])
    assert rows[-1]["reasons"] == ["better"]
    assert [row["evidence"].get("state") for row in rows] == [None, None, "shadow", "canary", "canary"]
    assert rows[2]["evidence"]["rows"] == 200
    assert follower.now.release
    assert follower.now.release.version == second["model_version"]
    # its answers in shadow were not given, and say to which answer they belong
    shadows = query(
        "select count(*) as n, count(shadows) as told from ops.predictions where model_version = %s and purpose = 'shadow'", second["model_version"]
    )
    assert shadows == [{"n": 200, "told": 200}]


@pytest.mark.parametrize("flights", [[*range(300), *[20] * 3000], [*range(230)]], ids=["one that many have asked for", "few"])
def test_every_state_is_judged_by_as_many_answers_as_it_must_be(
    release: Make, following: None, recorded: Callable[[list[int]], None], connection: Connection, flights: list[int]
) -> None:
    recorded(flights)
    found = [row["features"] for row in connection.execute(rollout.RECENT, (1000,)).fetchall()]
    assert len(found) == len({json.dumps(each) for each in found}) == len(set(flights))
    assert rollout.roll_out(attempt("1993-13"), release(), ["first"]) == []
    second = release()
    assert rollout.roll_out(attempt("1993-14"), second, ["better"]) == []
    rows = query("select state, evidence from ops.deployments where model_version = %s order by id", second["model_version"])
    assert [row["state"] for row in rows] == ["registered", "shadow", "canary", "canary", "champion"]
    for row, stage in zip(rows[2:], POLICY["stages"], strict=True):
        assert row["evidence"]["rows"] >= stage["rows"]


@pytest.mark.usefixtures("nothing_else_published")
def test_what_few_have_asked_is_no_trial(release: Make, following: None, recorded: Callable[[list[int]], None], connection: Connection) -> None:
    """However often: the answers to one row say nothing of the others."""
    recorded([1] * 3000)
    first, second = release(), release()
    assert rollout.roll_out(attempt("1993-15"), first, ["first"]) == []
    with pytest.raises(NotServed, match="is tried on 200 different rows, and no more than 1 were ever asked or published"):
        rollout.roll_out(attempt("1993-16"), second, ["better"])
    champion = deployments.champion()
    assert champion
    assert champion["model_version"] == first["model_version"]
    # once there are, the same call goes on
    recorded(list(range(1500)))
    assert rollout.roll_out(attempt("1993-16"), second, ["better"]) == []


def test_where_too_little_was_asked_what_is_published_is_tried(release: Make, following: None, connection: Connection, marts: Callable[[int], None]) -> None:
    marts(400)
    assert rollout.roll_out(attempt("1993-17"), release(), ["first"]) == []
    second = release()
    assert rollout.roll_out(attempt("1993-18"), second, ["better"]) == []
    rows = query("select entity_id from ops.predictions where model_version = %s", second["model_version"])
    assert len({row["entity_id"] for row in rows}) >= 200


@pytest.mark.usefixtures("nothing_else_published")
def test_what_was_asked_counts_once_although_it_is_published_too(
    release: Make, following: None, connection: Connection, marts: Callable[[int], None], recorded: Callable[[list[int]], None]
) -> None:
    marts(150)
    recorded(list(range(10)))
    with connection.transaction(force_rollback=True):
        # the same, now as requests
        columns = ", ".join(f"'{name}', {name}" for name in FEATURES)
        connection.execute(
            "insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at)"
            f" select gen_random_uuid(), entity_id, '2999-01', 'live', 9000001, 0.5, jsonb_build_object({columns}), now() from marts.features"
            " where partition_key = '2098-02'".encode()
        )
        rows = rollout.Trial(connection, "1993-31", release(), None, POLICY, 0).rows(1000)
    assert len(rows) == len({row["entity_id"] for row in rows}) == 160


def test_one_release_at_a_time(release: Make, following: None, asked: None) -> None:
    first, others = release(), [release(), release()]
    assert rollout.roll_out(attempt("1993-19"), first, ["first"]) == []
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(rollout.roll_out, attempt("1993-20"), each, ["better"]) for each in others]
    assert [each.result() for each in done] == [[], []]
    rows = query("select model_version from ops.deployments where partition_key = '1993-20' and model_version <> %s order by id", first["model_version"])
    versions = [row["model_version"] for row in rows]
    # all of one, then all of the other (whose end retires it)
    assert versions[0] != versions[-1]
    assert [version for version, before in zip(versions, [0, *versions], strict=False) if version != before] in (
        [a := versions[0], b := versions[-1]],
        [a, b, a, b],
    )


def test_a_trial_whose_deployer_died_is_ended_by_the_next(release: Make, following: None, asked: None, connection: Connection) -> None:
    first, left, second = release(), release(), release()
    await_workers(connection, deployments.promote(connection, "1993-21", first, []))
    deployments.record(connection, "1993-21", left, Move("shadow", []))
    assert rollout.roll_out(attempt("1993-22"), second, ["better"]) == []
    assert moves(left["model_version"]) == [("shadow", 0), ("retired", 0)]
    assert query("select reasons from ops.deployments where model_version = %s order by id desc limit 1", left["model_version"]) == [
        {"reasons": ["its trial ended without a word"]}
    ]


def test_what_a_person_decides_while_nobody_serves_stands(release: Make, connection: Connection, following: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = release(), release(), release()
    for each in (first, second):
        await_workers(connection, deployments.promote(connection, "1993-23", each, []))

    def nobody(*_: Any) -> bool:
        deployments.roll_back(None, "it does not load")
        return True

    monkeypatch.setattr(rollout, "_nobody_serves", nobody)
    (said,) = rollout.roll_out(attempt("1993-24"), third, ["better"])
    assert "it does not load" in said
    champion = deployments.champion()
    assert champion
    assert champion["model_version"] == first["model_version"]


def test_a_canary_that_fails_is_rolled_back(
    release: Make, models: Registry, following: None, asked: None, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, fails = release(), release()
    rollout.roll_out(attempt("1993-25"), good, [])
    sound = Release.sound

    def broken(self: Release, found: list[float]) -> list[float]:
        canary = follower.now.candidate is self and follower.now.share > 0
        return sound(self, [float("nan")] * len(found) if canary else found)

    monkeypatch.setattr(Release, "sound", broken)
    against = rollout.roll_out(attempt("1993-26"), fails, [])
    assert against[:2] == ["it answered 0 of 30 rows", f"it failed on {failures(fails)} rows"]
    assert moves(fails["model_version"]) == [("registered", 0), ("shadow", 0), ("canary", 0.05), ("retired", 0)]
    # nobody noticed: the champion gave those answers
    assert query("select purpose from ops.predictions where model_version = %s group by 1", fails["model_version"]) == [{"purpose": "shadow"}]
    (told,) = query("select summary from ops.alerts where source = 'rollout' and partition_key = '1993-26'")
    assert "it answered 0 of 30 rows" in told["summary"]


def failures(release: dict[str, Any]) -> int:
    rows = query("select evidence from ops.deployments where model_version = %s and state = 'retired'", release["model_version"])
    return int(rows[0]["evidence"]["failures"])


def test_a_canary_whose_answers_have_moved_is_rolled_back(
    release: Make, models: Registry, following: None, asked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = release(), changed(models, release(), opposite)
    rollout.roll_out(attempt("1993-27"), good, [])
    # as if shadow had seen nothing of it
    monkeypatch.setitem(parameters()["rollout"], "max_difference", 1)
    (against,) = rollout.roll_out(attempt("1993-28"), bad, [])
    assert "its mean answer is" in against
    assert moves(bad["model_version"]) == [("registered", 0), ("shadow", 0), ("canary", 0.05), ("retired", 0)]


def test_live_traffic_is_waited_for(release: Make, following: None, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = parameters()["rollout"]
    monkeypatch.setitem(policy, "traffic", "live")
    monkeypatch.setitem(policy, "seconds", 2)
    monkeypatch.setitem(policy, "stages", [{"rows": 20}, {"share": 0.5, "rows": 20}])
    good, second = release(), release()
    rollout.roll_out(attempt("1993-29"), good, [])
    with pytest.raises(NotServed, match="has had no traffic for 2 s"):
        rollout.roll_out(attempt("1993-30"), second, ["better"])
    assert moves(second["model_version"]) == [("registered", 0), ("shadow", 0)]
    stop = Event()

    def ask() -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            asked = {"carrier": "UA", "flight": 1 + number % 9000, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00"}
            assert client.post("/predict", json={"instances": [asked]}).status_code == 200

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            monkeypatch.setitem(policy, "seconds", 20)
            assert rollout.roll_out(attempt("1993-30"), second, ["better"]) == []
        finally:
            stop.set()
        asking.result()
    rows = query("select evidence from ops.deployments where model_version = %s order by id desc limit 2", second["model_version"])
    assert min(row["evidence"]["rows"] for row in rows) >= 20
    # what was logged late of its time in shadow does not count as what it answered as a canary
    assert query("select count(*) as n from ops.predictions where model_version = %s and purpose = 'probe'", second["model_version"]) == [{"n": 0}]


def test_a_bad_release_never_gets_beyond_shadow(release: Make, models: Registry, following: None, asked: None, follower: Follower) -> None:
    good, bad = release(), changed(models, release(), opposite)
    rollout.roll_out(attempt("1993-03"), good, [])
    against = rollout.roll_out(attempt("1993-04"), bad, ["better"])
    assert "from the champion's to the same rows" in against[0]
    assert moves(bad["model_version"]) == [("registered", 0), ("shadow", 0), ("retired", 0)]
    given = query("select purpose from ops.predictions where model_version = %s group by 1", bad["model_version"])
    assert given == [{"purpose": "shadow"}]
    (told,) = query("select severity, summary from ops.alerts where source = 'rollout' and partition_key = '1993-04'")
    assert told["severity"] == "stop"
    assert told["summary"].startswith(f"version {bad['model_version']} was rolled back: ")
    assert follower.now.release
    assert follower.now.release.version == good["model_version"]


def test_a_slow_release_never_gets_beyond_shadow(release: Make, models: Registry, following: None, asked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parameters()["rollout"], "most_milliseconds", 0.05)
    good = release()
    rollout.roll_out(attempt("1993-05"), good, [])
    random = np.random.default_rng(1)
    data = lgb.Dataset(random.normal(size=(500, len(FEATURES))), label=random.integers(0, 2, 500), feature_name=FEATURES)
    knobs = {"objective": "binary", "verbose": -1, "learning_rate": 1e-6, "num_leaves": 31, "min_data_in_leaf": 2}
    slow = changed(models, release(), str, lgb.train(knobs, data, num_boost_round=3000))
    against = rollout.roll_out(attempt("1993-06"), slow, [])
    assert any("a row takes it" in reason for reason in against), against
    assert moves(slow["model_version"]) == [("registered", 0), ("shadow", 0), ("retired", 0)]


def test_a_tampered_release_is_answered_to_nobody(release: Make, models: Registry, following: None, asked: None) -> None:
    good, bad = release(), release()
    rollout.roll_out(attempt("1993-07"), good, [])
    models.artifacts[bad["artifact"]] += b" "
    against = rollout.roll_out(attempt("1993-08"), bad, [])
    assert "the stored file has sha256" in against[0]
    assert moves(bad["model_version"]) == [("registered", 0), ("retired", 0)]
    assert query("select 1 as n from ops.predictions where model_version = %s", bad["model_version"]) == []


def test_a_shadow_is_asked_and_never_answers(
    release: Make, deployed: Callable[..., int], connection: Connection, look: Callable[[], None], client: httpx.Client
) -> None:
    champion, made = deployed(release()), release()
    deployments.record(connection, "1993-09", made, Move("shadow", []))
    look()
    body = {"instances": [{"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00"}]}
    ids = []
    for number in range(50):
        body["instances"][0]["flight"] = number + 1
        answer = client.post("/predict", json=body, headers={"x-purpose": "probe"}).json()
        assert answer["model_version"] == champion
        ids.append(answer["predictions"][0]["prediction_id"])
    assert client.get(f"/v2/models/late_arrival/versions/{made['model_version']}").status_code == 404
    await_logged(ids)
    deadline = time.monotonic() + 10
    shadowed: list[str] = []
    while len(shadowed) < 50:
        assert time.monotonic() < deadline
        rows = connection.execute("select shadows from ops.predictions where model_version = %s", (made["model_version"],)).fetchall()
        shadowed = [str(row["shadows"]) for row in rows]
    assert sorted(shadowed) == sorted(ids)


def test_a_canary_answers_its_share_and_the_same_request_goes_the_same_way(
    release: Make, deployed: Callable[..., int], connection: Connection, look: Callable[[], None], client: httpx.Client
) -> None:
    champion, made = deployed(release()), release()
    deployments.record(connection, "1993-10", made, Move("canary", [], share=0.25))
    look()
    instance = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00"}
    bodies = [{"instances": [instance | {"flight": number + 1}]} for number in range(400)]

    def versions() -> list[int]:
        return [client.post("/predict", json=body, headers={"x-purpose": "probe"}).json()["model_version"] for body in bodies]

    found = versions()
    assert set(found) == {champion, made["model_version"]}
    assert 60 <= found.count(made["model_version"]) <= 140
    assert versions() == found


def test_what_a_canary_cannot_answer_the_champion_does(
    release: Make, deployed: Callable[..., int], connection: Connection, look: Callable[[], None], client: httpx.Client, follower: Follower
) -> None:
    champion, made = deployed(release()), release()
    deployments.record(connection, "1993-11", made, Move("canary", [], share=1))
    look()
    candidate = follower.now.candidate
    assert candidate
    candidate.model.one = lambda _: float("nan")  # type: ignore[method-assign]
    body = {"instances": [{"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00"}]}
    answer = client.post("/predict", json=body, headers={"x-purpose": "probe"})
    assert (answer.status_code, answer.json()["model_version"]) == (200, champion)
    await_logged([answer.json()["predictions"][0]["prediction_id"]])
    rows = connection.execute("select purpose, probability from ops.predictions where model_version = %s", (made["model_version"],)).fetchall()
    assert [(row["purpose"], str(row["probability"])) for row in rows] == [("shadow", "nan")]
    # of a large request it can answer the first part only: the champion answers all of it
    predict, calls = candidate.model.predict, []

    def fails_later(rows: Any) -> Any:
        calls.append(len(rows))
        return predict(rows) * (1 if len(calls) == 1 else np.nan)

    candidate.model.predict = fails_later  # type: ignore[method-assign]
    answer = client.post("/predict", json={"instances": body["instances"] * 600}, headers={"x-purpose": "probe"})
    assert (answer.status_code, answer.json()["model_version"], len(answer.json()["predictions"])) == (200, champion, 600)
    assert calls == [500, 100]
    await_logged([each["prediction_id"] for each in answer.json()["predictions"]])
    rows = connection.execute("select count(*) as n from ops.predictions where model_version = %s and purpose <> 'shadow'", (champion,)).fetchall()
    assert rows == [{"n": 601}]


def test_a_roll_back_is_served_within_two_seconds(release: Make, models: Registry, connection: Connection, following: None, follower: Follower) -> None:
    first, second, trial = release(), release(), release()
    await_workers(connection, deployments.promote(connection, "1993-12", first, []))
    deployments.promote(connection, "1993-12", second, [])
    row = deployments.record(connection, "1993-12", trial, Move("shadow", []))
    await_workers(connection, row)
    models.artifacts.clear()
    begun = time.monotonic()
    before, now, row = deployments.roll_back(None, "it looked odd")
    await_workers(connection, row)
    assert time.monotonic() - begun < 2
    assert (before, now) == (second["model_version"], first["model_version"])
    assert follower.now.release
    assert (follower.now.release.version, follower.now.candidate) == (first["model_version"], None)
    assert moves(trial["model_version"]) == [("shadow", 0), ("retired", 0)]
    # forward again, by name
    assert deployments.roll_back(second["model_version"], "it was right")[:2] == (first["model_version"], second["model_version"])
    with pytest.raises(
        NothingToRollBackTo, match=f"version {trial['model_version']} has never served; these have: .*{first['model_version']}, {second['model_version']}"
    ):
        deployments.roll_back(trial["model_version"], "")


def test_a_roll_back_in_the_middle_of_a_trial_ends_it(
    release: Make, connection: Connection, following: None, asked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, trial = release(), release(), release()
    for each in (first, second):
        await_workers(connection, deployments.promote(connection, "1992-03", each, []))
    judged = rollout.Trial.await_evidence

    def meanwhile(self: rollout.Trial, *given: Any) -> Evidence:
        if not self.shown:
            deployments.roll_back(None, "it looked odd")
        return judged(self, *given)

    monkeypatch.setattr(rollout.Trial, "await_evidence", meanwhile)
    (said,) = rollout.roll_out(attempt("1992-04"), trial, ["better"])
    assert said == f"version {first['model_version']} became champion in the meantime: roll back: it looked odd"
    assert moves(trial["model_version"]) == [("registered", 0), ("shadow", 0), ("retired", 0)]
    champion = deployments.champion()
    assert champion
    assert champion["model_version"] == first["model_version"]


def test_a_roll_back_before_a_trial_has_begun_ends_it_too(release: Make, connection: Connection) -> None:
    first, second, trial = release(), release(), release()
    for each in (first, second):
        deployments.promote(connection, "1992-05", each, [])
    deployments.record(connection, "1992-05", trial, Move("registered", ["better"]))
    deployments.roll_back(None, "it looked odd")
    assert moves(trial["model_version"]) == [("registered", 0), ("retired", 0)]


def test_history_says_what_served_when(release: Make, connection: Connection) -> None:
    first, second = release(), release()
    deployments.promote(connection, "1992-01", first, ["a"])
    (now,) = connection.execute("select clock_timestamp() as at").fetchall()
    deployments.promote(connection, "1992-02", second, ["b"])
    then = [row for row in deployments.history(now["at"]) if row["state"] == "champion"]
    assert then[-1]["model_version"] == first["model_version"]
    later = [row for row in deployments.history(connection.execute("select clock_timestamp() as at").fetchall()[0]["at"]) if row["state"] == "champion"]
    assert later[-1]["model_version"] == second["model_version"]


def test_a_stage_that_asks_ends_when_its_answers_are_logged() -> None:
    assert logged(lambda key: {"sent": 0, "prediction_ids": [], "key": key})("2013-01") == {"sent": 0, "key": "2013-01"}
    with pytest.raises(NotLogged, match="1 of 1 answers are not in"):
        await_logged(identities(1), seconds=0.1)
