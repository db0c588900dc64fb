"""Settings and generated secrets."""

import os
from pathlib import Path

import pytest

from flightdeck import secrets
from flightdeck.settings import MissingSecret, Settings, settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets are made in a state folder of the test's own, under the most careless umask."""
    monkeypatch.setattr(secrets, "settings", lambda: settings().model_copy(update={"home": tmp_path}))
    before = os.umask(0)
    secrets.ensure()
    os.umask(before)
    return tmp_path / "secrets"


def test_each_secret_is_a_file_for_its_owner_only(folder: Path) -> None:
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == sorted(secrets.NAMES)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    contents = {file.read_text() for file in files}
    assert len(contents) == len(files)
    assert min(map(len, contents)) >= 32


def test_secrets_are_made_once_and_only_the_missing_one_is_made_again(folder: Path) -> None:
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert before
    (folder / "postgres_worker").unlink()
    secrets.ensure()
    after = {file.name: file.read_text() for file in folder.iterdir()}
    assert {name for name in secrets.NAMES if before[name] != after[name]} == {"postgres_worker"}


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    path.write_text("old")
    path.chmod(0o644)
    secrets.write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_secret_names_its_file_and_the_cure(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match=r"postgres_worker; `flightdeck up` makes it, in containers the service `secrets`"):
        Settings(home=tmp_path).database_url("worker")


def test_urls_carry_the_secret_of_their_role_only(folder: Path) -> None:
    own = Settings(home=folder.parent, port_postgres=5999, port_serving=3999)
    reader, worker = (folder / "postgres_reader").read_text(), (folder / "postgres_worker").read_text()
    assert own.database_url("reader", "+psycopg2") == f"postgresql+psycopg2://reader:{reader}@127.0.0.1:5999/warehouse"
    assert worker not in own.database_url("reader")
    assert own.url("serving") == "http://127.0.0.1:3999"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLIGHTDECK_PORT_SERVING", "3999")
    monkeypatch.setenv("FLIGHTDECK_MONITOR_AWAITS", "[]")
    monkeypatch.setenv("FLIGHTDECK_HOME", str(tmp_path))
    found = Settings()
    assert (found.port_serving, found.monitor_awaits, found.reports) == (3999, [], tmp_path / "reports")


def test_each_container_gets_its_own_secrets_and_no_others(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "share"
    for name in secrets.SHARES:
        (place / name).mkdir(parents=True)
    secrets.share(place)
    assert {name: {file.name for file in (place / name).iterdir()} for name in secrets.SHARES} == {name: set(files) for name, files in secrets.SHARES.items()}
    # only who administers may become everybody, and nobody who faces the outside may
    assert [name for name, files in secrets.SHARES.items() if "postgres_flightdeck" in files] == ["postgres"]
    assert {file.stat().st_mode & 0o777 for file in (place / "serving").iterdir()} == {0o400}
    first = {file: file.read_text() for file in place.rglob("*") if file.is_file()}
    secrets.share(place)
    assert {file: file.read_text() for file in place.rglob("*") if file.is_file()} == first
