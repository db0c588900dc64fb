"""How commands speak of what goes wrong."""

import functools
from collections.abc import Callable
from typing import Any

import click

from flightdeck import partitions, stack
from flightdeck.settings import MissingSecret


def friendly(command: Callable[..., None]) -> Callable[..., None]:
    """What goes wrong in a known way is one message with its cure; anything else keeps its traceback."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        import psycopg

        from flightdeck.airflow_api import AirflowError
        from flightdeck.backup import BackupFailed
        from flightdeck.parameters import UnknownParameter
        from flightdeck.repairs import BadRule
        from flightdeck.replay import ReplayFailed

        try:
            command(*arguments, **options)
        except (partitions.InvalidPartition, UnknownParameter) as error:
            raise click.UsageError(str(error)) from None
        except psycopg.OperationalError as error:
            raise click.ClickException(f"the warehouse does not answer ({str(error).strip()}); is the stack up? `flightdeck up`") from None
        except (stack.StackError, MissingSecret, AirflowError, ReplayFailed, BackupFailed, BadRule) as error:
            raise click.ClickException(str(error)) from None

    return run
