"""All settings of the platform: values over one definition, from the environment (prefix FLIGHTDECK_) or these defaults."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent

Role = Literal["flightdeck", "airflow", "mlflow", "worker", "serving", "reader", "world", "source_reader", "monitor", "receiver", "privacy"]
# Which database each role signs in to. `flightdeck` administers, `worker` writes the warehouse, `reader` only looks, `monitor` sees the server's statistics,
# `receiver` writes down the alerts that it is told, `privacy` alone sees who asked, and deletes it.
DATABASES: dict[Role, str] = {
    "flightdeck": "postgres",
    "airflow": "airflow",
    "mlflow": "mlflow",
    "worker": "warehouse",
    "serving": "warehouse",
    "reader": "warehouse",
    "receiver": "warehouse",
    "privacy": "warehouse",
    "world": "source",
    "source_reader": "source",
    "monitor": "postgres",
}


class MissingSecret(RuntimeError):
    """A secret's file is not there; the message says how to make it."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FLIGHTDECK_", frozen=True)

    home: Path = ROOT / ".flightdeck"
    # The address that services listen on, and the one that browsers reach them by.
    bind: str = "127.0.0.1"
    host: str = "127.0.0.1"
    # Where the services are for each other, by name, such as {"postgres": "db.internal"}; those that are not named: `host`.
    hosts: dict[str, str] = {}
    # The ports at which people reach services, by name, where they are others than the services' own.
    published: dict[str, int] = {}
    # Who starts the services: supervisord does on one machine; `none` if something else does, like Compose or Kubernetes.
    manager: Literal["supervisord", "none"] = "supervisord"
    port_airflow: int = 8080
    port_mlflow: int = 5000
    port_serving: int = 3000
    port_reports: int = 8090
    port_world: int = 8100
    port_postgres: int = 5442
    # Partitions are calendar months (or days, or hours) in this zone, and close this many hours after their end.
    partitions: Literal["month", "day", "hour"] = "month"
    timezone: str = "America/New_York"
    close_after_hours: int = 48
    # Fewest and most rows of a table's partition, instead of what its suite says, such as {"landing.TABLE": [400, 1500]} for days.
    expected_rows: dict[str, tuple[int, int]] = {}
    # For so many days after its closing a partition's sources are asked what came late.
    late_days: int = 1100
    # How many times the worked example's world has each of its rows: 10 for a year ten times as large; read when its sources are first filled.
    world_scale: int = Field(default=1, ge=1, le=100)
    # The module that reads a source instead of ours, by source, such as {"stations": "ingestion.adapters.singer"}.
    sources: dict[str, str] = {}
    # The stages that must have ended for a partition before it is monitored; without the replayed world: [].
    monitor_awaits: list[str] = ["requests"]
    # Where the marts are delivered to, MLflow keeps artifacts and DVC the snapshots: a folder each, or a URI such as
    # s3://bucket/prefix, whose tools take keys and endpoint from their own variables (AWS_…); empty: in the state folder.
    lake: str = ""
    artifacts: str = ""
    dvc_remote: str = ""
    # Processes that answer requests in one service; each loads its own model, and hears of releases by itself.
    serving_workers: int = Field(default=1, ge=1, le=64)
    # Where alerts are posted as JSON; empty: they are rows of ops.alerts only.
    alert_webhook: str = ""
    # Whether predictions and reports ask for the secret `token`, as Bearer or as a password.
    token: bool = False
    # The form of the services' log lines.
    logs_as: Literal["text", "json"] = "text"
    # The Python of the environment that the tool of a training adapter runs in (ml/adapters); empty: this one.
    adapter_python: str = ""
    # What this code calls itself in the ledger; empty: the git commit.
    code: str = ""

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def secret(self, name: str) -> str:
        """The generated secret `name`, from its file (0600) in the state folder."""
        path = self.home / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            raise MissingSecret(f"no secret at {path}; `flightdeck up` makes it, in containers the service `secrets`") from None

    def database_url(self, role: Role, driver: str = "", database: str = "") -> str:
        """The PostgreSQL URL of `role`, e.g. driver='+psycopg2' for SQLAlchemy, in its own database or another; generated passwords need no quoting."""
        password = self.secret(f"postgres_{role}")
        return f"postgresql{driver}://{role}:{password}@{self.at('postgres')}:{self.port_postgres}/{database or DATABASES[role]}"

    @property
    def authorization(self) -> dict[str, str]:
        """The header with which the platform's own parts ask for predictions."""
        return {"Authorization": f"Bearer {self.secret('token')}"} if self.token else {}

    def at(self, service: str) -> str:
        """The host at which the other services find `service`."""
        return self.hosts.get(service, self.host)

    def url(self, service: str) -> str:
        """The base address of an HTTP service, for the other services."""
        return f"http://{self.at(service)}:{getattr(self, f'port_{service}')}"

    def public_url(self, service: str, user: str = "") -> str:
        """The address for people, with `user` and its password in it when one is given."""
        sign_in = f"{user}:{self.secret(f'{service}_{user}')}@" if user else ""
        return f"http://{sign_in}{self.host}:{self.public_port(service)}"

    def public_port(self, service: str) -> int:
        return int(self.published.get(service, getattr(self, f"port_{service}")))


@lru_cache
def settings() -> Settings:
    found = Settings()
    home = found.home.expanduser().resolve()
    places = {"lake": "lake", "artifacts": "mlflow/artifacts", "dvc_remote": "dvc/remote"}
    return found.model_copy(update={"home": home} | {name: getattr(found, name) or str(home / folder) for name, folder in places.items()})
