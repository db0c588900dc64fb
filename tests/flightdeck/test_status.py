"""What `status` makes of the ledger."""

import pytest

from flightdeck import status
from flightdeck.ledger import Attempt, begin

pytestmark = pytest.mark.usefixtures("database")
NOTHING_YET = {
    "landed": None, "raw": None, "quarantined": None, "features": None, "published": False, "champion": None, "challenger": None,
    "champion_log_loss": None, "challenger_log_loss": None, "auc": None, "decision": None, "reasons": [], "drift_share": None, "retrain": None,
}  # fmt: skip


def _entry(key: str) -> dict[str, object] | None:
    """The partition's entry, without the seconds that it took."""
    found = [partition for partition in status.partitions() if partition["key"] == key]
    return {name: value for name, value in found[0].items() if name != "seconds"} if found else None


def _end(attempt: Attempt, state: str = "done", inputs: dict[str, object] | None = None, **facts: object) -> None:
    attempt.inputs |= inputs or {}
    attempt.facts |= facts
    attempt.record(state)


def test_a_partition_s_entry_grows_with_what_the_ledger_says() -> None:
    key = "2035-01"
    first = begin("ingest", key)
    assert _entry(key) is None
    # not `published`: raw's reference data would be taken for this far month's from then on
    _end(first, landed_flights=10, published_flights=9, quarantined_flights=1, quarantined_weather=2)
    seen = {"key": key} | NOTHING_YET | {"landed": 10, "raw": 9, "quarantined": 3}
    assert _entry(key) == seen

    built = begin("transform", key)
    _end(built, "published", rows={"features": 9})
    seen |= {"features": 9, "published": True}
    assert _entry(key) == seen

    _end(begin("monitor", key), inputs={"champion": 4}, log_loss=0.5, auc=0.7, drift_share=0.25)
    _end(begin("decide", key), retrain=True)
    _end(begin("gate", key), inputs={"challenger": 5}, decision="refused", reasons=["no better"], challenger={"log_loss": 0.6})
    seen |= {"champion": 4, "champion_log_loss": 0.5, "auc": 0.7, "drift_share": 0.25, "retrain": True}
    seen |= {"challenger": 5, "challenger_log_loss": 0.6, "decision": "refused", "reasons": ["no better"]}
    assert _entry(key) == seen

    _end(begin("transform", key), "withdrawn")
    assert _entry(key) == seen | {"published": False}


def test_a_failed_attempt_changes_no_figure_and_a_newer_good_one_does() -> None:
    key = "2035-02"
    _end(begin("ingest", key), landed_flights=10, published_flights=10)
    before = _entry(key)
    assert before is not None
    _end(begin("ingest", key), "failed", landed_flights=99)
    assert _entry(key) == before
    _end(begin("ingest", key), landed_flights=11, published_flights=11)
    assert _entry(key) == before | {"landed": 11, "raw": 11}


def test_seconds_are_those_of_the_attempts_that_ended_well() -> None:
    key = "2035-03"
    _end(begin("ingest", key))
    _end(begin("transform", key), "done")
    found = [partition["seconds"] for partition in status.partitions() if partition["key"] == key]
    assert len(found) == 1
    assert 0 <= found[0] < 60


def test_services_say_which_are_up() -> None:
    found = status.services()
    assert {name for name, service in found.items() if service["healthy"]} >= {"postgres", "world"}
    assert set(found) == {"postgres", "airflow", "mlflow", "serving", "reports", "world"}
    assert all("://127.0.0.1:" in service["url"] for service in found.values())
