"""The service over real HTTP on the real warehouse: every answer is in the log, every refusal is an answer."""

import errno
import json
import pickle
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from flightdeck import subjects
from flightdeck.predictions import await_logged
from flightdeck.settings import settings
from flightdeck.warehouse import Connection
from ml.features import FEATURES, row
from serving import app as served
from serving import body as bodies
from serving.follower import Follower
from serving.schema import MOST_BYTES
from serving.spool import Spool

ASKED: dict[str, Any] = {
    "carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "scheduled_departure": "2015-02-03T05:15:00",
    "distance": 1400, "weather": {"temp": 39.0},
}  # fmt: skip
ENTITY = "2015-02-03T10:00:00Z/UA/1545"


def logged(connection: Connection) -> list[dict[str, Any]]:
    """Once all that has been written is copied."""
    deadline = time.monotonic() + 10
    while served.spool.backlog:
        assert time.monotonic() < deadline, served.spool.problem
        time.sleep(0.01)
    return connection.execute("select * from ops.predictions where partition_key > '2014-12' order by logged_at").fetchall()


def ask(client: httpx.Client, *instances: dict[str, Any], **headers: str) -> httpx.Response:
    return client.post("/predict", json={"instances": list(instances)}, headers={name.replace("_", "-"): value for name, value in headers.items()})


def is_refusal(answer: httpx.Response, status: int, field: str = "") -> bool:
    body = answer.json()
    return answer.status_code == status and set(body) == {"error", "field", "message"} and body["field"] == field and bool(body["message"])


def raw(address: tuple[str, int], *lines: bytes, ends: bool = False) -> bytes:
    """Send these bytes, and return what comes back; with `ends`, say that no more will come."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"\r\n".join(lines))
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(4096)


def test_before_the_first_release_nothing_is_answered(client: httpx.Client, connection: Connection) -> None:
    answer = ask(client, ASKED)
    assert is_refusal(answer, 503)
    assert answer.json()["error"] == "no_release"
    assert logged(connection) == []
    assert client.get("/health").json() == {"model_version": None, "newest_partition": None, "log_backlog_bytes": 0, "problem": ""}


def test_an_answer_is_in_the_log_with_its_features(serving: int, client: httpx.Client, connection: Connection, follower: Follower) -> None:
    answer = ask(client, ASKED, ASKED | {"flight": 2}, x_purpose="probe", x_requested_at="2015-02-03T03:00:00-05:00")
    assert answer.status_code == 200
    body = answer.json()
    assert body["model_version"] == serving
    found = {str(entry["prediction_id"]): entry for entry in logged(connection)}
    assert [found[one["prediction_id"]]["entity_id"] for one in body["predictions"]] == [ENTITY, "2015-02-03T10:00:00Z/UA/2"]
    first = body["predictions"][0]
    entry = found[first["prediction_id"]]
    assert entry["probability"] == first["probability"]
    assert first["label"] is (first["probability"] >= 0.5)
    assert (entry["partition_key"], entry["purpose"], entry["model_version"]) == ("2015-02", "probe", serving)
    assert entry["requested_at"] == datetime(2015, 2, 3, 8, tzinfo=UTC)
    assert set(entry["features"]) == set(FEATURES)
    assert (entry["features"]["minute_of_day"], entry["features"]["temp"], entry["features"]["dewp"]) == (315.0, 39.0, None)
    # what was logged is what was scored
    assert follower.now.release
    assert follower.now.release.predict([row(map(entry["features"].get, FEATURES))]) == [first["probability"]]


def test_weather_out_of_range_is_logged_as_missing_and_counted(serving: int, client: httpx.Client, connection: Connection) -> None:
    name = "flightdeck_values_out_of_range_total"
    before = REGISTRY.get_sample_value(name)
    assert before is not None
    assert ask(client, ASKED | {"weather": {"temp": 1e308, "wind_speed": 1048, "humid": 50}}).status_code == 200
    features = logged(connection)[0]["features"]
    assert (features["temp"], features["wind_speed"], features["humid"]) == (None, None, 50.0)
    assert REGISTRY.get_sample_value(name) == before + 2


def test_one_wrong_instance_refuses_all_and_logs_none(serving: int, client: httpx.Client, connection: Connection) -> None:
    assert is_refusal(ask(client, ASKED, ASKED | {"flight": -1}), 400, "instances[1].flight")
    assert logged(connection) == []


@pytest.mark.parametrize("kind", ["application/x-pickle", "application/python-pickle", "Application/Vnd.BentoML+PICKLE; charset=x"])
@pytest.mark.parametrize("path", ["/predict", "/v2/models/late_arrival/infer"])
def test_a_pickle_is_not_read(serving: int, client: httpx.Client, tmp_path: Path, path: str, kind: str) -> None:
    class Opened:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "opened"), "w")

    answer = client.post(path, content=pickle.dumps(Opened()), headers={"content-type": kind})
    assert is_refusal(answer, 415)
    assert not (tmp_path / "opened").exists()
    # nor where it is said to be something else
    assert client.post(path, content=pickle.dumps(Opened()), headers={"content-type": "application/json"}).status_code == 400
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("path", ["/predict", "/v2/models/late_arrival/infer"])
def test_a_body_that_is_nested_deeply_is_refused(serving: int, client: httpx.Client, path: str) -> None:
    for opened, closed in ((b"[", b"]"), (b'{"inputs": [{"data": ' + b"[", b"]"), (b'{"a": ', b"}")):
        answer = client.post(path, content=opened + b"[" * 500_000 + b"]" * 500_000 + closed)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid")


def test_an_error_of_ours_is_counted_and_says_nothing_of_the_inside(serving: int, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> None:
        raise KeyError("inside")

    monkeypatch.setattr(served, "give", wrong)
    answer = client.post("/predict", json={"instances": [ASKED]})
    assert is_refusal(answer, 500)
    assert "inside" not in answer.text
    counted = REGISTRY.get_sample_value("flightdeck_refused_total", {"route": "/predict", "error": "internal", "model_version": str(serving)})
    assert counted == 1


def test_the_description_s_examples_are_answered(serving: int, client: httpx.Client) -> None:
    described = client.get("/docs.json").json()
    for path in ("/predict", "/v2/models/{name}/infer"):
        operation = described["paths"][path]["post"]
        asked = operation["requestBody"]["content"]["application/json"]
        for example in [each["value"] for each in asked.get("examples", {}).values()] or [asked["example"]]:
            answer = client.post(path.replace("{name}", "late_arrival"), json=example, headers={"x-purpose": "probe"})
            assert answer.status_code == 200, answer.text
            told = operation["responses"]["200"]["content"]["application/json"]["example"]
            assert set(answer.json()) == set(told)


@pytest.mark.parametrize("purpose", ["garbage", "", "shadow", "LIVE", "a" * 5000])
def test_a_purpose_that_is_none_is_refused(serving: int, client: httpx.Client, purpose: str) -> None:
    assert is_refusal(ask(client, ASKED, x_purpose=purpose), 400, "x-purpose")


@pytest.mark.parametrize(
    "time",
    [
        "garbage", "2015-01-01", "2015-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-14:00", "9999-12-31T23:59:59-14:00",
        "1899-12-31T00:00:00Z", "2100-01-01T00:00:00Z", "99999-01-01T00:00:00Z", "2015-01-01T00:00:00+24:00", "9" * 5000,
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(serving: int, client: httpx.Client, time: str) -> None:
    assert is_refusal(ask(client, ASKED, x_requested_at=time), 400, "x-requested-at")


@pytest.mark.parametrize("time", ["2015-01-01T00:00:00+23:59:59.999999", "1900-01-01T00:00:00+23:59", "2099-12-31T23:59:59-23:59", "20150101T000000Z"])
def test_a_time_at_the_edge_is_kept(serving: int, client: httpx.Client, connection: Connection, time: str) -> None:
    assert ask(client, ASKED, x_requested_at=time).status_code == 200
    assert logged(connection)[0]["requested_at"] == datetime.fromisoformat(time)


@pytest.mark.parametrize(
    ("departure", "hour"),
    [
        ("2013-11-03T01:30:00", "2013-11-03T05:00:00Z"),  # comes twice: the first
        ("2013-03-10T02:30:00", "2013-03-10T07:00:00Z"),  # never comes: as the clock had not been moved
        ("1900-01-01T00:00:00", "1900-01-01T05:00:00Z"),
        ("2099-12-31T23:59:00", "2100-01-01T04:00:00Z"),
        ("2015-02-03T05:15:59.999999", "2015-02-03T10:00:00Z"),
    ],
)
def test_the_entity_has_the_departures_hour(serving: int, client: httpx.Client, connection: Connection, departure: str, hour: str) -> None:
    answer = ask(client, ASKED | {"scheduled_departure": departure})
    assert answer.status_code == 200
    identity = answer.json()["predictions"][0]["prediction_id"]
    await_logged([identity])
    found = connection.execute("delete from ops.predictions where prediction_id = %s returning entity_id, partition_key", (identity,)).fetchone()
    assert found == {"entity_id": f"{hour}/UA/1545", "partition_key": departure[:7]}


def test_what_is_too_large_is_refused_announced_or_not(serving: int, client: httpx.Client, connection: Connection) -> None:
    large = b" " * (2 * MOST_BYTES)
    assert is_refusal(client.post("/predict", content=large), 413)
    assert is_refusal(client.post("/predict", content=(large[start : start + 65_536] for start in range(0, len(large), 65_536))), 413)
    assert logged(connection) == []
    assert ask(client, ASKED).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b'{"instances": [{"carrier": "\xff"}]}', json.dumps({"instances": [ASKED]}).encode("utf-16"), b"[" * 50_000, b"NaN"]
)
def test_a_body_that_is_no_request_is_a_400(serving: int, client: httpx.Client, content: bytes) -> None:
    answer = client.post("/predict", content=content)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "field", "message"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_the_content_type_does_not_matter(serving: int, client: httpx.Client, kind: str) -> None:
    assert client.post("/predict", content=json.dumps({"instances": [ASKED]}), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused_in_the_words_of_the_others(serving: int, client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/predict")
    assert is_refusal(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("length", [b"abc", b"-5", b"+5", b"1_0", b"", b"9" * 5000])
def test_a_length_that_is_no_number_is_refused_and_the_next_is_answered(serving: int, address: tuple[str, int], client: httpx.Client, length: bytes) -> None:
    assert raw(address, b"POST /predict HTTP/1.1", b"host: x", b"content-length: " + length, b"", b"{}").startswith(b"HTTP/1.1 400 ")
    assert ask(client, ASKED).status_code == 200


def test_a_body_that_ends_early_is_no_error_of_ours(serving: int, address: tuple[str, int], client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    refusal = bodies.Refusal
    monkeypatch.setattr(bodies, "Refusal", lambda *words: seen.append(words[0]) or refusal(*words))
    assert raw(address, b"POST /predict HTTP/1.1", b"host: x", b"content-length: 100", b"", b'{"instances": [', ends=True) == b""
    assert ask(client, ASKED).status_code == 200
    assert seen == [400]


def test_a_body_that_never_comes_is_a_408(serving: int, address: tuple[str, int], client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    assert raw(address, b"POST /predict HTTP/1.1", b"host: x", b"content-length: 100", b"", b'{"instances": [').startswith(b"HTTP/1.1 408 ")
    assert ask(client, ASKED).status_code == 200


def test_a_log_that_cannot_be_written_means_no_answer(serving: int, spool: Spool, client: httpx.Client, connection: Connection) -> None:
    spool.folder.parent.joinpath("log").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("serving.spool.os.write", full)
        answer = ask(client, ASKED)
    assert is_refusal(answer, 503)
    assert answer.json()["error"] == "log_unavailable"
    assert logged(connection) == []
    assert ask(client, ASKED).status_code == 200
    assert len(logged(connection)) == 1


def test_health_says_that_the_warehouse_is_gone_and_answers_go_on_from_what_is_known(
    serving: int, follower: Follower, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, await_health: Callable[[str], dict[str, Any]]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = settings().model_copy(update={"port_postgres": closed.getsockname()[1]})
        with monkeypatch.context() as patch:
            patch.setattr("flightdeck.warehouse.settings", lambda: nowhere)
            follower.start()
            assert await_health("the warehouse does not answer")["model_version"] == serving
            assert ask(client, ASKED).json()["model_version"] == serving


def kept_askers() -> list[tuple[str, str]]:
    """(prediction, pseudonym), once all is copied."""
    deadline = time.monotonic() + 10
    while served.askers.backlog:
        assert time.monotonic() < deadline, served.askers.problem
        time.sleep(0.01)
    with psycopg.connect(settings().database_url("privacy")) as own:
        return [(str(prediction), subject) for prediction, subject in own.execute("select prediction_id, subject from personal.askers").fetchall()]


def test_who_asks_is_kept_apart_and_by_pseudonym(
    release: Callable[..., Any], deployed: Any, look: Callable[[], None], client: httpx.Client, connection: Connection, tmp_path: Path
) -> None:
    deployed(release())
    look()
    person = "Ada.Example@example.org"
    answer = client.post("/predict", json={"instances": [ASKED, ASKED], "subject": person})
    assert answer.status_code == 200, answer.text
    made = {each["prediction_id"] for each in answer.json()["predictions"]}
    assert client.post("/predict", json={"instances": [ASKED]}).status_code == 200
    mine = [(prediction, subject) for prediction, subject in kept_askers() if prediction in made]
    assert {prediction for prediction, _ in mine} == made
    assert {subject for _, subject in mine} == {subjects.known(person)}
    assert not [row for row in logged(connection) if "example.org" in json.dumps(row, default=str).lower()]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"example.org" in path.read_bytes().lower()], "the name is on disk"
    with subjects.vault("privacy") as vault:
        vault.execute("delete from keys")


def test_without_a_vault_the_answer_is_given_and_who_asked_is_not_kept(
    release: Callable[..., Any], deployed: Any, look: Callable[[], None], client: httpx.Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(release())
    look()

    def refused(_: str) -> None:
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(served, "pseudonyms", subjects.Pseudonyms())
    monkeypatch.setattr(subjects, "vault", refused)
    before, counted = len(kept_askers()), REGISTRY.get_sample_value("flightdeck_askers_not_kept_total") or 0
    answers = [client.post("/predict", json={"instances": [ASKED], "subject": "somebody new"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(kept_askers()) == before
    assert REGISTRY.get_sample_value("flightdeck_askers_not_kept_total") == counted + 2
    assert {each["prediction_id"] for answer in answers for each in answer.json()["predictions"]} <= {str(row["prediction_id"]) for row in logged(connection)}
