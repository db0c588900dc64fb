"""Health checks of containers, each of what the service is there for: `python -m flightdeck.probe SERVICE`; a failing one says why."""

import sys
from collections.abc import Callable

import httpx

from flightdeck import canary
from flightdeck.settings import settings


def _get(url: str, **options: object) -> httpx.Response:
    answer = httpx.get(url, timeout=8, trust_env=False, **options)  # type: ignore[arg-type]
    if answer.is_error:
        sys.exit(f"{url}: {answer.status_code} {answer.text[:300]}")
    return answer


def _own(service: str, path: str) -> None:
    """This container's own service, whoever else has its name."""
    _get(f"http://127.0.0.1:{getattr(settings(), f'port_{service}')}{path}")


def _airflow(part: str) -> None:
    status = _get(settings().url("airflow") + "/api/v2/monitor/health").json()[part]["status"]
    if status != "healthy":
        sys.exit(f"Airflow says that its {part} is {status}")


def _mlflow() -> None:
    """A query that its database has to answer, by someone whom it has to know."""
    url = f"http://127.0.0.1:{settings().port_mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    _get(url, auth=("admin", settings().secret("mlflow_admin")))


def _canary() -> None:
    age = canary.age()
    if age is None or age > canary.STALE_SECONDS:
        sys.exit("the canary has not run yet" if age is None else f"the canary last ran {age:.0f} s ago; it should every five minutes")


PROBES: dict[str, Callable[[], None]] = {
    "airflow-api-server": lambda: _airflow("metadatabase"),
    "airflow-scheduler": _canary,
    "airflow-dag-processor": lambda: _airflow("dag_processor"),
    "airflow-triggerer": lambda: _airflow("triggerer"),
    "mlflow": _mlflow,
    "serving": lambda: _own("serving", "/ready"),
    "reports": lambda: _own("reports", "/health"),
    "world": lambda: _own("world", "/health"),
}


def main(service: str) -> None:
    try:
        PROBES[service]()
    except Exception as error:  # noqa: BLE001 (whatever it is, the check has failed, and says so in one line)
        sys.exit(f"{service}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
