"""Generated secrets: one file each, 0600, in the state folder; made once, never printed in a log."""

import base64
import json
import os
import secrets
import sys
from pathlib import Path
from typing import get_args

from flightdeck.settings import Role, settings

NAMES = [
    *(f"postgres_{role}" for role in get_args(Role)),
    "airflow_admin", "airflow_jwt", "airflow_fernet", "airflow_session",
    "mlflow_admin", "mlflow_session",
    "token", "subjects", "s3_key", "s3_secret", "broker",
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
            write_private(folder / name, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() if "fernet" in name else secrets.token_urlsafe(48))


# Which files a container gets: its own volume has no others.
SHARES = {
    "airflow": [
        "airflow_admin", "airflow_jwt", "airflow_fernet", "airflow_session", "mlflow_admin", "subjects", "token", "aws_credentials",
        "broker_url", "celery_results",
        *(f"postgres_{role}" for role in ("airflow", "worker", "reader", "source_reader")),
    ],
    # a task in a pod of its own: what its work needs, and nothing of Airflow's but the key to its API
    "task": ["airflow_admin", "mlflow_admin", "subjects", "token", "aws_credentials", *(f"postgres_{role}" for role in ("worker", "reader", "source_reader"))],
    "mlflow": ["postgres_mlflow", "mlflow_admin", "mlflow_session", "aws_credentials"],
    "serving": ["postgres_serving", "mlflow_admin", "subjects", "token"],
    "reports": ["postgres_reader", "postgres_receiver", "token"],
    "world": ["postgres_world"],
    "edge": ["token", "postgres_monitor"],
    "postgres": ["postgres_flightdeck"],
    "objects": ["s3.json"],
    "prometheus": ["token"],
    "broker": ["redis.conf"],
}  # fmt: skip
# whose images have users of their own choice
FOREIGN = {"postgres", "objects", "prometheus", "broker"}


def share(place: Path) -> None:
    """Copy each container's secrets to its folder of `place`, where that is there: a volume each, so that none sees another's."""
    ensure()
    secrets_ = settings().home / "secrets"
    key, secret = settings().secret("s3_key"), settings().secret("s3_secret")
    write_private(secrets_ / "aws_credentials", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    identity = {"name": "flightdeck", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin", "Read", "Write", "List"]}
    write_private(secrets_ / "s3.json", json.dumps({"identities": [identity]}))
    broker = settings().secret("broker")
    write_private(secrets_ / "redis.conf", f"requirepass {broker}\nbind 0.0.0.0\nprotected-mode yes\nappendonly yes\ndir /data\n")
    write_private(secrets_ / "broker_url", f"redis://:{broker}@broker:6379/0")
    write_private(secrets_ / "celery_results", settings().database_url("airflow", "+psycopg2").replace("postgresql", "db+postgresql"))
    for container, names in SHARES.items():
        # of a container that an overlay brings there is a folder in the image, and no volume over it, or none
        if not os.access(place / container, os.W_OK):
            continue
        (place / container).chmod(0o755 if container in FOREIGN else 0o700)
        for name in names:
            copy = place / container / name
            write_private(copy, (secrets_ / name).read_text())
            copy.chmod(0o444 if container in FOREIGN else 0o400)


if __name__ == "__main__":
    share(Path(sys.argv[1]))
