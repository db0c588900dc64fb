"""`flightdeck doctor` finds and names what a machine lacks, with the cure."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flightdeck import doctor
from flightdeck.settings import settings
from tests.sandbox import environment

PORTS = ["AIRFLOW", "MLFLOW", "POSTGRES", "REPORTS", "SERVING", "WORLD"]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something else listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def _own(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Settings of the test's own, for the checks and for the question whether a stack runs already."""
    own = settings().model_copy(update=values)
    monkeypatch.setattr(doctor, "settings", lambda: own)
    monkeypatch.setattr(doctor.stack, "settings", lambda: own)


def test_the_command_names_each_fault_with_its_cure_and_fails(taken: int, tmp_path: Path) -> None:
    long = tmp_path / ("a" * 60) / ("b" * 60)
    own = os.environ | environment(str(long)) | {"FLIGHTDECK_PORT_MLFLOW": str(taken)}
    done = subprocess.run([sys.executable, "-m", "flightdeck.cli", "doctor"], env=own, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stdout.splitlines() if line.startswith("error") and "GB of" not in line and "may enter" not in line]
    assert len(errors) == 2
    assert f"state folder {long}" in errors[0]
    assert "set FLIGHTDECK_HOME to a shorter one" in errors[0]
    assert errors[1] == f"error port {taken} for mlflow: it is taken: stop what uses it, or set FLIGHTDECK_PORT_MLFLOW to another"
    assert sum(line.startswith("ok    port ") for line in done.stdout.splitlines()) == len(PORTS) - 1
    assert not long.exists()


def test_too_little_disk_and_memory_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _own(monkeypatch, home=tmp_path / "not" / "yet" / "there")
    monkeypatch.setattr(doctor, "DISK_GB", 10**9)
    monkeypatch.setattr(doctor, "MEMORY_GB", 10**9)
    bad = {finding.what.partition(" GB of ")[2]: finding.cure for finding in doctor.findings() if not finding.ok}
    assert "set FLIGHTDECK_HOME to another disk" in bad[f"disk free at {tmp_path}"]
    assert "needs 1000000000 GB" in bad["memory free"]


def test_a_folder_that_postgresql_cannot_pass_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    _own(monkeypatch, home=closed / "state")
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    assert [str(closed) in finding.cure for finding in doctor.findings() if finding.what == f"others may enter {closed}"] == [True]


def test_each_service_s_port_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _own(monkeypatch, home=tmp_path)
    named = [finding.what.rpartition(" ")[2] for finding in doctor.findings() if finding.what.startswith("port ")]
    assert named == sorted(name.lower() for name in PORTS)


def test_a_running_stack_s_own_ports_are_no_fault(database: str) -> None:
    assert [finding.what for finding in doctor.findings() if finding.what.startswith("port ")] == []
