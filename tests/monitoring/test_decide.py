"""The retraining policy: each reason, and what is missing is said and counts for nothing."""

from typing import Any

import pytest

from flightdeck import ledger
from flightdeck.warehouse import connect
from monitoring.decide import Decision, decide, decision
from tests.ml.rows import insert, remove, table

POLICY = {"min_new_rows": 1000, "cooldown": 1, "max_age": 2, "max_drift_share": 0.5, "max_prediction_psi": 0.2, "max_log_loss_rise": 0.02}
CALM = {
    "champion": 3, "new_rows": 5000, "since_training": 1, "age": 1, "drift_share": 0.1, "prediction_psi": 0.05,
    "log_loss": 0.51, "own_log_loss": 0.5, "estimated_log_loss": 0.505,
}  # fmt: skip
AGE = "age: the champion has not seen 2 published partition(s), limit 2"
DRIFT = "drift: 0.60, limit 0.5"
ANSWERS = "drift of the answers: 0.25, limit 0.2"
PERFORMANCE = "performance: log loss 0.5230 against 0.5000, limit 0.02"
ESTIMATE = "performance against its estimate: log loss 0.5300 against 0.5050, limit 0.02"
NO_DRIFT, NO_ANSWERS = "drift: not measured", "drift of the answers: not measured"
NO_LABELS = ["performance: no matured labels of its answers", "performance against its estimate: no matured labels of its answers"]


@pytest.mark.parametrize(
    ("evidence", "retrain", "reasons"),
    [
        ({}, False, ["nothing asks for it"]),
        ({"champion": None}, True, ["first: there is no champion"]),
        ({"champion": None, "since_training": None}, True, ["first: there is no champion"]),
        ({"champion": None, "new_rows": 999}, False, ["new rows: 999, fewer than 1000"]),
        ({"champion": None, "new_rows": 1000}, True, ["first: there is no champion"]),
        ({"since_training": 0, "age": 2}, False, ["cooldown: 0 published partition(s) since the last training, 1 are waited for"]),
        ({"age": 2}, True, [AGE]),
        ({"drift_share": 0.6}, True, [DRIFT]),
        ({"drift_share": 0.5, "prediction_psi": 0.2}, False, ["nothing asks for it"]),
        ({"prediction_psi": 0.25}, True, [ANSWERS]),
        ({"log_loss": 0.523}, True, [PERFORMANCE]),
        ({"log_loss": 0.53, "own_log_loss": 0.52}, True, [ESTIMATE]),
        ({"log_loss": 0.4}, False, ["nothing asks for it"]),
        ({"age": 2, "drift_share": 0.6, "prediction_psi": 0.25, "log_loss": 0.523}, True, [AGE, DRIFT, ANSWERS, PERFORMANCE]),
        # few new rows outweigh all that asks
        ({"new_rows": 0, "age": 2, "drift_share": 0.6, "log_loss": 0.53}, False, ["new rows: 0, fewer than 1000"]),
        # an erasure outweighs those
        ({"new_rows": 0, "since_training": 0, "erased": [2, 3]}, True, ["erasure: version 2, 3 learned from rows that were erased since"]),
        ({"erased": []}, False, ["nothing asks for it"]),
        # what is missing is said, and counts for nothing
        ({"drift_share": None, "prediction_psi": None}, False, [NO_DRIFT, NO_ANSWERS]),
        ({"log_loss": None}, False, NO_LABELS),
        ({"own_log_loss": None}, False, ["performance: nothing to compare it with"]),
        ({"estimated_log_loss": None, "log_loss": 0.523}, True, [PERFORMANCE, "performance against its estimate: nothing to compare it with"]),
        ({"drift_share": None, "log_loss": None, "age": 2}, True, [AGE, NO_DRIFT, *NO_LABELS]),
    ],
)
def test_policy(evidence: dict[str, Any], retrain: bool, reasons: list[str]) -> None:
    assert decision(CALM | evidence, POLICY) == Decision(retrain, reasons)


def test_only_published_rows_with_known_labels_are_new(database: str) -> None:
    unpublished, key = "1998-01", "1998-02"
    transform = ledger.begin("transform", key)
    with connect() as connection:
        insert(connection, table(unpublished, 50))
        insert(connection, table(key, 40))
        # known after the month has closed
        connection.execute("update marts.labels set known_at = '1998-03-03 05:00:01+00' where partition_key = %s and day = '1998-02-28'", (key,))
        late = connection.execute("select count(*) as n from marts.labels where partition_key = %s and day = '1998-02-28'", (key,)).fetchone()
        transform.record("published")
        decide(key)
        transform.record("withdrawn")
        remove(connection, [unpublished, key])
    made = ledger.last("decide", key)
    assert made is not None
    assert late is not None
    assert late["n"] > 0
    assert made["facts"]["evidence"]["new_rows"] == 40 - late["n"]
    assert made["facts"]["retrain"] is False
    assert made["facts"]["reasons"] == [f"new rows: {40 - late['n']}, fewer than 1000"]
