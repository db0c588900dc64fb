"""What a drill needs: to tell what happens and when, to wait, and to say that it cannot show anything or that the platform failed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from flightdeck import deployments
from flightdeck.warehouse import connect


class NotReady(RuntimeError):
    """The stack is not in a state in which the drill would show anything; the message says what it lacks."""


class Failed(RuntimeError):
    """The platform did not react as it promises."""


@dataclass
class Watch:
    """Tells what happens, and when; `reaction` is what the platform took, in seconds."""

    begun: float = field(default_factory=time.monotonic)
    reaction: float = 0.0

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self.begun:6.1f} s  {text}")

    @contextmanager
    def reacting(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.reaction = time.monotonic() - begun


def until(what: str, seconds: float, found: Callable[[], bool]) -> None:
    """Wait for something; raises Failed."""
    deadline = time.monotonic() + seconds
    while not found():
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds:.0f} s: {what}")
        time.sleep(0.1)


def champion_release() -> dict[str, Any]:
    """The release that serves; raises NotReady."""
    with connect() as connection:
        champion, candidate, _ = deployments.standing(connection)
    if champion is None:
        raise NotReady("nothing serves yet: `flightdeck replay 2013-01 2013-02` first")
    if candidate:
        raise NotReady(f"version {candidate['model_version']} is on trial; a drill waits for the end of that")
    release: dict[str, Any] = champion["release"]
    return release
