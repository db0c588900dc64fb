"""Log lines as JSON, with what they belong to: partition, stage, attempt, run, release. So one key finds everything.

Task logs are JSON by Airflow's own doing; `within` adds to them. The other services take their lines' form from `uvicorn` and `as_json`.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flightdeck.settings import settings

# what the lines of this process belong to, beside their own `extra`
about: dict[str, Any] = {}
OWN = set(vars(logging.makeLogRecord({})))


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"timestamp": at, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        line |= about | {name: value for name, value in vars(record).items() if name not in OWN and name in FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


FIELDS = {"partition", "stage", "attempt", "run", "release"}
UVICORN = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "flightdeck.logs.Json"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["out"], "level": "INFO"},
    "loggers": {name: {"handlers": [], "propagate": True, "level": "INFO"} for name in ("uvicorn", "uvicorn.error", "uvicorn.access")},
}


def uvicorn() -> dict[str, Any]:
    """uvicorn's `log_config`: its own, or lines of JSON where the setting `logs` says so."""
    if settings().logs_as == "json":
        return UVICORN
    from uvicorn.config import LOGGING_CONFIG

    return LOGGING_CONFIG


def as_json() -> None:
    """Give every handler that a tool has set up this form, where the setting says so."""
    if settings().logs_as == "json":
        logging.getLogger("flightdeck").setLevel(logging.INFO)
        loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict))]
        for handler in {handler for logger in loggers for handler in logger.handlers}:
            handler.setFormatter(Json())


@contextmanager
def within(**keys: Any) -> Iterator[None]:
    """Lines of a task's log, inside of this, carry `keys`."""
    from structlog.contextvars import bound_contextvars

    with bound_contextvars(**keys):
        yield
