"""The service `reports`: pages, metrics of the warehouse, and the token that both ask for where it is switched on."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn
from psycopg.types.json import Jsonb

from flightdeck import deployments, exporter, ledger, pages, site, token
from flightdeck.deployments import Move
from flightdeck.settings import settings
from flightdeck.warehouse import connect


@contextmanager
def served() -> Iterator[httpx.Client]:
    """The site behind a real HTTP server."""
    server = uvicorn.Server(uvicorn.Config(pages.site(), port=0, log_level="warning"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, follow_redirects=True) as client:
        yield client
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def client(database: str) -> Iterator[httpx.Client]:
    site.write()
    with served() as opened:
        yield opened


@pytest.fixture
def guarded(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    on = settings().model_copy(update={"token": True})
    monkeypatch.setattr(token, "settings", lambda: on)
    site.write()
    with served() as opened:
        yield opened


def test_pages_are_open_on_one_machine(client: httpx.Client) -> None:
    assert "Flightdeck reports" in client.get("/").text
    assert client.get("/drift/").status_code == 200
    assert client.get("/../secrets/token").status_code == 404
    assert client.get("/health").text == "ok"


def test_each_query_gives_its_metric(client: httpx.Client) -> None:
    with connect() as connection:
        connection.execute("insert into ops.canary (at) values (now()) on conflict do nothing")
    text = client.get("/metrics").text
    assert "flightdeck_warehouse_up 1.0" in text
    assert len(exporter.queries()) >= 12
    declared = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name for name in exporter.queries() if name not in declared} == set()


def test_labels_age_by_what_was_asked_about_and_not_by_when_somebody_tried_it(database: str) -> None:
    """A question of today about a month of long ago says nothing of labels; one about a month that has none does."""
    key = "2098-12"
    query = exporter.queries()["flightdeck_age_seconds"]["query"]
    asked = (
        "insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at)"
        " values (%s, 'x', %s, 'live', 1, 0.5, '{}', %s)"
    )

    def days() -> float:
        return float({row["what"]: row["value"] for row in connection.execute(query)}["labels"]) / 86400

    attempt = ledger.begin("transform", key)
    attempt.record("published")
    with connect() as connection, connection.transaction(force_rollback=True):
        label = "insert into marts.labels (entity_id, partition_key, label, known_at, day) values ('x', %s, true, '2098-12-31 05:00:00+00', '2098-12-30')"
        connection.execute(label, (key,))
        connection.execute(asked, (uuid4(), key, "2098-12-30 05:00:00+00"))
        connection.execute("update marts.labels set known_at = '2098-12-29 05:00:00+00' where partition_key = %s", (key,))
        assert days() == 1
        connection.execute(asked, (uuid4(), key, "2150-01-01 05:00:00+00"))
        assert days() == 3
        connection.execute(asked, (uuid4(), "2099-03", "2099-03-20 05:00:00+00"))
        assert days() == 81
    attempt.record("withdrawn")


def test_what_decided_last_what_is_on_trial_and_how_answers_did(database: str) -> None:
    key, version = "2099-12", 8_000_001

    def told(name: str, *labels: str) -> dict[Any, Any]:
        rows = connection.execute(exporter.queries()[name]["query"]).fetchall()
        return {tuple(row[label] for label in labels): row["value"] for row in rows}

    with connect() as connection, connection.transaction(force_rollback=True):

        def end(stage: str, state: str = "done", **facts: Any) -> None:
            values = (key, stage, state, Jsonb(facts))
            connection.execute("insert into ops.ledger (partition_key, stage, attempt, state, facts, code) values (%s, %s, 1, %s, %s, 'test')", values)

        end("transform", "published")
        end("decide", retrain=True)
        end("gate", decision="promoted")
        end("deploy", decision="rolled back")
        decided = told("flightdeck_last_decision_timestamp_seconds", "stage", "decision")
        assert set(decided) == {("decide", "retrain"), ("gate", "promoted"), ("deploy", "rolled back")}
        end("decide", retrain=False)
        assert ("decide", "wait") in told("flightdeck_last_decision_timestamp_seconds", "stage", "decision")
        trial = []
        for state in ("registered", "shadow", "canary", "champion", "retired"):
            deployments.record(connection, key, {"model_version": version}, Move(state, []))
            trial.append(told("flightdeck_on_trial")[()])
        assert trial == [0, 1, 1, 0, 0]
        assert told("flightdeck_champion_version") == {(): version}
        answers = [(0.9, True), (0.4, True), (0.2, False), (0.6, False)]
        for number, (probability, label) in enumerate(answers):
            values = (uuid4(), number, key, version, probability, f"2099-12-01T00:00:0{number}Z")
            connection.execute(
                "insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at)"
                " values (%s, %s::text, %s, 'live', %s, %s, '{}', %s)", values,
            )  # fmt: skip
            connection.execute(
                "insert into marts.labels (entity_id, partition_key, label, known_at, day) values (%s::text, %s, %s, '2099-12-02 05:00:00+00', '2099-12-01')",
                (number, key, label),
            )
        judged = {figure: value for (of, figure), value in told("flightdeck_answers_judged", "model_version", "figure").items() if of == version}
        loss = -sum(log(probability if label else 1 - probability) for probability, label in answers) / 4
        assert judged == {"rows": 4, "accuracy": 0.5, "calibration": pytest.approx(0.025), "log_loss": pytest.approx(loss)}


def test_a_warehouse_that_is_gone_is_a_metric(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = settings().model_copy(update={"port_postgres": 1})
    monkeypatch.setattr("flightdeck.warehouse.settings", lambda: gone)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "flightdeck_warehouse_up 0.0" in answer.text
    assert "flightdeck_champion_version" not in answer.text


@pytest.mark.parametrize("path", ["/", "/index.html", "/metrics", "/drift/", "/health/../metrics", "//metrics"])
def test_without_the_token_nothing_is_told(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 401
    for header in ("Bearer", "Bearer wrong", "Basic !!!", "Basic d3Jvbmc=", "Basic é", "Digest x", "é"):
        assert guarded.get(path, headers={"Authorization": header.encode()}).status_code == 401, header


def test_the_token_opens_as_bearer_and_as_password(guarded: httpx.Client) -> None:
    secret = settings().secret("token")
    assert guarded.get("/", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert guarded.get("/metrics", auth=("anybody", secret)).status_code == 200
    assert guarded.get("/health").status_code == 200


def test_no_start_page_is_not_healthy(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = settings().model_copy(update={"home": tmp_path})
    monkeypatch.setattr(pages, "settings", lambda: empty)
    with served() as opened:
        assert opened.get("/health").status_code == 503


MESSAGE = {
    "version": "4",
    "status": "firing",
    "receiver": "page",
    "groupLabels": {},
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "TargetDown", "severity": "page", "job": "<serving>"},
            "annotations": {"summary": "<b>serving</b> does not answer"},
            "startsAt": "2013-05-01T10:00:00.5Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "0f1e",
        }
    ],
}


def test_an_alert_is_kept_once_and_seen_until_it_ends(client: httpx.Client) -> None:
    assert [client.post("/alerts", json=MESSAGE).text for _ in range(2)] == ["1 kept"] * 2
    text = client.get("/alerts/").text
    assert text.count("TargetDown") == 1
    assert "&lt;b&gt;serving&lt;/b&gt; does not answer" in text
    assert "<tr class=open><td>2013-05-01 10:00:00<td>goes on<td>page" in text
    over = MESSAGE | {"alerts": [MESSAGE["alerts"][0] | {"status": "resolved", "endsAt": "2013-05-01T10:30:00Z"}]}  # type: ignore[index, operator]
    client.post("/alerts", json=over)
    text = client.get("/alerts/").text
    assert "<tr><td>2013-05-01 10:00:00<td>10:30:00<td>page" in text
    assert text.count("TargetDown") == 1


def test_what_the_stages_sent_is_on_the_same_page(client: httpx.Client) -> None:
    with connect() as connection:
        connection.execute("insert into ops.alerts values ('1990-01', 'landing.x', 1, 'stop', 'half of it is missing', '[]') on conflict do nothing")
    assert "<td>stop<td>landing.x<td>1990-01<td>half of it is missing" in client.get("/alerts/").text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"[", "application/json", 400),
        (b'{"alerts": [{"status": "firing"}]}', "application/json", 400),
        (b'{"alerts": []}', "text/plain", 415),
        (b" " * 1_000_001, "application/json", 413),
    ],
)
def test_what_is_no_alert_is_refused(client: httpx.Client, content: bytes, kind: str, status: int) -> None:
    assert client.post("/alerts", content=content, headers={"content-type": kind}).status_code == status


def test_the_receiver_may_write_down_alerts_and_nothing_else(database: str) -> None:
    with connect("receiver") as connection:
        for statement in ("select 1 from ops.ledger", "delete from ops.incidents", "insert into ops.alerts values ('a', 'b', 1, 'stop', '', '[]')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_nobody_tells_an_alert_without_the_token(guarded: httpx.Client) -> None:
    assert guarded.post("/alerts", json=MESSAGE).status_code == 401
    assert guarded.get("/alerts/").status_code == 401
