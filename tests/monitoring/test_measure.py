"""What is measured of a partition: coverage and performance on labels known by then, and drift that names its columns."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest
from psycopg.types.json import Jsonb
from sklearn.metrics import log_loss

import monitoring.measure as module
from flightdeck import deployments, ledger
from flightdeck.parameters import parameters
from flightdeck.settings import settings
from flightdeck.warehouse import Connection, connect
from ml.features import FEATURES, text
from monitoring.measure import compare, drift, estimate, frozen, labels, measure, performance
from tests.ml.rows import insert, remove, table

REFERENCE, SAME, SHIFTED, HOLLOW, EMPTY = "1990-01", "1990-02", "1990-03", "1990-04", "1990-05"
KEYS = [REFERENCE, SAME, SHIFTED, HOLLOW, EMPTY]
ROWS = 2000
CLOSED = datetime(1990, 3, 3, 5, tzinfo=UTC)


def changed(key: str, name: str, values: list[Any]) -> pa.Table:
    rows = table(key, ROWS)
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.float64()))


@pytest.fixture(scope="module")
def connection(database: str) -> Iterator[Connection]:
    """The reference month; one like it; one whose distance has moved; one without any visibility."""
    with connect() as opened:
        insert(opened, table(REFERENCE, ROWS))
        insert(opened, table(SAME, ROWS))
        insert(opened, changed(SHIFTED, "distance", np.random.default_rng(1).normal(2, 1, ROWS).tolist()))
        insert(opened, changed(HOLLOW, "visib", [None] * ROWS))
        yield opened
        remove(opened, KEYS)


@pytest.fixture
def asked(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """Four entities of SAME with their labels: the first ten minutes' worth of answers is logged by each test itself."""
    yield table(SAME, ROWS).slice(0, 4).to_pylist()
    connection.execute("delete from ops.predictions where partition_key = any(%s)", (KEYS,))


def answer(connection: Connection, entity: str, probability: float, minute: int, version: int = 1, purpose: str = "replay") -> None:
    connection.execute(
        "insert into ops.predictions (prediction_id, entity_id, partition_key, purpose, model_version, probability, features, requested_at, logged_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (uuid4(), entity, SAME, purpose, version, probability, Jsonb({}), CLOSED, datetime(2020, 1, 1, 0, minute, tzinfo=UTC)),
    )  # fmt: skip


def expected(rows: list[dict[str, Any]], said: list[float]) -> float:
    return float(log_loss([row["label"] for row in rows], said, labels=[0, 1]))


def test_an_entity_that_was_asked_twice_counts_once_with_its_first_answer(connection: Connection, asked: list[dict[str, Any]]) -> None:
    # the later answer is written first
    answer(connection, asked[0]["entity_id"], 0.9, minute=2)
    answer(connection, asked[0]["entity_id"], 0.2, minute=1)
    answer(connection, asked[1]["entity_id"], 0.6, minute=3)
    found = performance(SAME, CLOSED)
    assert found["answered"] == 2
    assert found["log_loss"] == pytest.approx(expected(asked[:2], [0.2, 0.6]))


def test_each_version_has_its_own_figures(connection: Connection, asked: list[dict[str, Any]]) -> None:
    for number, version in enumerate((1, 1, 2)):
        answer(connection, asked[number]["entity_id"], 0.3 + number / 10, minute=number, version=version)
    found = performance(SAME, CLOSED)
    assert set(found["versions"]) == {"1", "2"}
    assert found["versions"]["1"]["log_loss"] == pytest.approx(expected(asked[:2], [0.3, 0.4]))
    assert found["versions"]["2"]["log_loss"] == pytest.approx(expected(asked[2:3], [0.5]))
    assert found["versions"]["2"]["auc"] is None


def test_probes_and_other_peoples_rows_do_not_count(connection: Connection, asked: list[dict[str, Any]]) -> None:
    answer(connection, asked[0]["entity_id"], 0.2, minute=1, purpose="probe")
    answer(connection, asked[1]["entity_id"], 0.2, minute=1, purpose="shadow")
    answer(connection, "1990-02-01T10:00:00Z/UA/unknown", 0.2, minute=1)
    assert performance(SAME, CLOSED) == {
        "answered": 0, "log_loss": None, "auc": None, "calibration": None, "performance": "nothing was asked, or no label is known yet",
    }  # fmt: skip


def test_a_label_that_is_known_later_does_not_count(connection: Connection, asked: list[dict[str, Any]]) -> None:
    # these four are of the first of the month: known at noon of the second
    answer(connection, asked[0]["entity_id"], 0.2, minute=1)
    assert performance(SAME, datetime(1990, 2, 2, 11, 59, tzinfo=UTC))["answered"] == 0
    assert performance(SAME, datetime(1990, 2, 2, 12, tzinfo=UTC))["answered"] == 1


def test_coverage_counts_what_is_known(connection: Connection) -> None:
    rows = table(SAME, ROWS).to_pylist()
    first_half = [row["label"] for row in rows if row["day"].day <= 14]
    found = labels(SAME, datetime(1990, 2, 15, 12, tzinfo=UTC))
    assert found["entities"] == ROWS
    assert found["labelled"] == len(first_half)
    assert found["label_coverage"] == len(first_half) / ROWS
    assert found["base_rate"] == pytest.approx(np.mean(first_half))
    assert labels(SAME, CLOSED)["label_coverage"] == 1.0
    # the last day's labels are known at noon of the day after: they had not come at the month's end
    assert labels(SAME, CLOSED)["label_coverage_at_end"] == pytest.approx(1 - 1 / 28, abs=0.001)
    assert labels(SAME, CLOSED)["last_label_at"] == "1990-03-01T12:00:00+00:00"
    nothing_yet = labels(SAME, datetime(1990, 1, 1, tzinfo=UTC))
    assert (nothing_yet["labelled"], nothing_yet["label_coverage"], nothing_yet["base_rate"]) == (0, 0.0, None)
    assert labels(EMPTY, CLOSED)["label_coverage"] is None


class FromDistance:
    """A model whose answer follows one feature."""

    features = FEATURES

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(1 / (1 + np.exp(-rows[:, FEATURES.index("distance")])))

    def importance(self) -> dict[str, float]:
        return {}


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The release of a model that answers by the distance, trained on these partitions."""
    monkeypatch.setattr(module, "load", lambda _: FromDistance())
    return lambda *keys: {"model_version": 801, "partitions": list(keys), "features": FEATURES}


def test_the_same_data_have_not_drifted_and_neither_have_the_answers(connection: Connection, champion: Callable[..., dict[str, Any]]) -> None:
    found = drift(SAME, champion(REFERENCE))
    assert found["drifted"] == []
    assert found["drift_share"] == 0.0
    assert found["prediction_psi"] < 0.1
    assert set(found["psi"]) == set(FEATURES)


def test_a_column_that_moved_is_named_and_so_are_the_answers(connection: Connection, champion: Callable[..., dict[str, Any]]) -> None:
    found = drift(SHIFTED, champion(REFERENCE))
    assert found["drifted"] == ["distance"]
    assert found["drift_share"] == pytest.approx(1 / len(FEATURES))
    assert found["psi"]["distance"] > 0.1 > found["psi"]["temp"]
    assert found["prediction_psi"] > 0.1
    page = (settings().reports / found["report"]).read_text()
    assert "<html" in page
    assert "distance" in page
    assert "probability" in page


def test_a_champion_of_other_features_is_asked_nothing(connection: Connection, champion: Callable[..., dict[str, Any]]) -> None:
    found = drift(SHIFTED, champion(REFERENCE) | {"features": ["distance"]})
    assert found["drifted"] == ["distance"]
    assert found["prediction_psi"] is None


def test_a_column_without_a_value_is_not_compared_and_is_named(connection: Connection, champion: Callable[..., dict[str, Any]]) -> None:
    found = drift(HOLLOW, champion(REFERENCE))
    assert found["not_compared"] == ["visib"]
    assert "visib" not in found["psi"]


@pytest.mark.parametrize(("key", "reference"), [(EMPTY, [REFERENCE]), (SAME, [EMPTY]), (SAME, [SAME]), (SAME, [])])
def test_without_rows_on_one_side_drift_is_missing_with_its_reason(
    connection: Connection, champion: Callable[..., dict[str, Any]], key: str, reference: list[str]
) -> None:
    assert drift(key, champion(*reference)) == {
        "drift_share": None, "prediction_psi": None, "drift": "one side has no rows: there is nothing to compare",
    }  # fmt: skip


def test_performance_is_told_by_segment_with_its_calibration(connection: Connection, asked: list[dict[str, Any]]) -> None:
    for number, row in enumerate(asked):
        answer(connection, row["entity_id"], 0.4, minute=number)
    found = performance(SAME, CLOSED)
    assert found["calibration"] == pytest.approx(0.4 - np.mean([row["label"] for row in asked]))
    origins = {text(row["origin_code"]) for row in asked}
    assert {name for name in found["segments"] if name.startswith("origin/")} == {f"origin/{origin}" for origin in origins}
    assert sum(each["rows"] for name, each in found["segments"].items() if name.startswith("carriers/")) == 4


def test_the_estimate_reads_no_label_and_is_kept_for_comparison(connection: Connection, asked: list[dict[str, Any]]) -> None:
    for number, row in enumerate(asked):
        answer(connection, row["entity_id"], 0.5, minute=number)
    # as before any label is there: the answers are enough
    connection.execute("update marts.labels set known_at = '2090-01-01' where partition_key = %s", (SAME,))
    estimate(SAME)
    connection.execute("update marts.labels set known_at = (day + 1) + time '12:00' at time zone 'UTC' where partition_key = %s", (SAME,))
    found = ledger.last("estimate", SAME)
    assert found is not None
    assert found["facts"] == {"answered": 4, "rows": 4, "base_rate": 0.5, "log_loss": pytest.approx(np.log(2)), "auc": pytest.approx(0.5)}
    estimate(EMPTY)
    nothing = ledger.last("estimate", EMPTY)
    assert nothing is not None
    assert nothing["facts"] == {"answered": 0, "reason": "nothing was asked, so there is nothing to go by"}


def test_a_frozen_model_is_scored_on_what_was_asked(
    connection: Connection, asked: list[dict[str, Any]], champion: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = parameters()
    monkeypatch.setattr(module, "parameters", lambda: knobs | {"monitor": knobs["monitor"] | {"frozen_after": REFERENCE}})
    monkeypatch.setattr(deployments, "champion", lambda before: {"model_version": 801, "release": champion(REFERENCE)} if before == f"{REFERENCE}~" else None)
    assert frozen(SAME, CLOSED) is None
    for number, row in enumerate(asked):
        answer(connection, row["entity_id"], 0.4, minute=number)
    found = frozen(SAME, CLOSED)
    assert found is not None
    assert found["model_version"] == 801
    assert found["log_loss"] == pytest.approx(expected(asked, [1 / (1 + np.exp(-row["distance"])) for row in asked]))
    # of the month that it was trained on, and of those before, it says nothing
    assert frozen(REFERENCE, CLOSED) is None


def test_the_stage_measures_against_the_champion_of_the_time_and_the_site_shows_it(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    # a champion that is deployed for the month itself has not served it
    for version, key in ((801, REFERENCE), (802, SHIFTED)):
        connection.execute(
            "insert into ops.deployments (partition_key, model_version, state, release, code) values (%s, %s, 'champion', %s, 'test')",
            (key, version, Jsonb({"model_version": version, "partitions": [key], "features": FEATURES})),
        )
    monkeypatch.setattr(module, "load", lambda _: FromDistance())
    compare(SHIFTED)
    measure(SHIFTED)
    found = ledger.last("monitor", SHIFTED)
    assert found is not None
    assert found["inputs"]["champion"] == 801
    assert found["facts"]["drifted"] == ["distance"]
    assert found["facts"]["reference"] == [REFERENCE]
    assert found["facts"]["answered"] == 0
    assert f'href="{SHIFTED}.html"' in (settings().reports / "drift" / "index.html").read_text()
    assert 'href="drift/index.html"' in (settings().reports / "index.html").read_text()


def test_without_a_champion_drift_is_missing_with_its_reason(connection: Connection) -> None:
    compare(REFERENCE)
    measure(REFERENCE)
    found = ledger.last("monitor", REFERENCE)
    assert found is not None
    assert found["inputs"]["champion"] is None
    assert found["facts"]["drift_share"] is None
    assert found["facts"]["drift"] == "no champion yet: there is nothing to compare with"
