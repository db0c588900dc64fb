"""Alerts: a row in ops.alerts for whoever looks, and one POST to the webhook of the setting `alert_webhook` for whoever does not."""

from dataclasses import asdict, dataclass

import httpx
from psycopg.types.json import Jsonb

from flightdeck.ledger import Attempt
from flightdeck.settings import settings
from flightdeck.warehouse import connect

SECONDS = 3.0


@dataclass(frozen=True)
class Alert:
    """What is to be known of a table's partition, in one line and in several."""

    source: str
    severity: str
    summary: str
    details: list[str]


def send(attempt: Attempt, alert: Alert) -> None:
    """Keep the alert and deliver it. A webhook that fails is noted beside it: whoever is told late must not stop the data."""
    place = (attempt.key, alert.source, attempt.number)
    with connect() as connection:
        connection.execute(
            "insert into ops.alerts (partition_key, source, attempt, severity, summary, details) values (%s, %s, %s, %s, %s, %s)"
            " on conflict (partition_key, source, attempt) do update set severity = excluded.severity, summary = excluded.summary,"
            " details = excluded.details, delivered = null, error = null, at = excluded.at",
            (*place, alert.severity, alert.summary, Jsonb(alert.details)),
        )
        if not settings().alert_webhook:
            return
        error = _post(attempt, alert)
        connection.execute(
            "update ops.alerts set delivered = %s, error = %s where (partition_key, source, attempt) = (%s, %s, %s)", (error is None, error, *place)
        )


def _post(attempt: Attempt, alert: Alert) -> str | None:
    """Why the webhook did not take it, or None. The address stays out of it: most webhooks carry their secret there."""
    body = asdict(alert) | {"text": alert.summary, "stage": attempt.stage, "partition": attempt.key, "attempt": attempt.number}
    try:
        # what it answers beyond the status is not read
        with httpx.stream("POST", settings().alert_webhook, json=body, timeout=SECONDS) as answer:
            return None if answer.is_success else f"the webhook answered {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__} after at most {SECONDS:g} s"
