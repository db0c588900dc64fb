"""Generated secrets: one file each, 0600, in the state folder; made once, never printed in a log."""

import base64
import os
import secrets
from pathlib import Path
from typing import get_args

from flightdeck.settings import Role, settings

NAMES = [
    *(f"postgres_{role}" for role in get_args(Role)),
    "airflow_admin", "airflow_jwt", "airflow_fernet", "airflow_session",
    "mlflow_admin", "mlflow_session",
]  # fmt: skip


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, replacing it at once or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    scratch.replace(path)


def ensure() -> None:
    """Make every secret that is missing."""
    folder = settings().home / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in NAMES:
        if not (folder / name).exists():
            # 32 bytes in URL-safe base64: also the form that Airflow's Fernet key must have
            write_private(folder / name, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() if "fernet" in name else secrets.token_urlsafe(24))
