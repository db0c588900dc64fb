"""Waits until `migrate` has made a relation: `python wait.py ROLE RELATION`. What starts a pod's container too early would only start it again later."""

import logging
import sys
import time

import psycopg

from flightdeck.settings import Role
from flightdeck.warehouse import query


def there(role: Role, relation: str) -> bool:
    """Whether the role's own database has it; neither server nor role may be there yet."""
    try:
        return query("select to_regclass(%s)::text as found", relation, role=role)[0]["found"] is not None
    except psycopg.OperationalError as error:
        logging.warning("%s", error)
        return False


if __name__ == "__main__":
    while not there(*sys.argv[1:]):  # type: ignore[arg-type]
        time.sleep(2)
