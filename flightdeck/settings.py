"""All settings of the platform: values over one definition, from the environment (prefix FLIGHTDECK_) or these defaults."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent

Role = Literal["flightdeck", "airflow", "mlflow", "worker", "serving", "reader", "world", "source_reader"]
# Which database each role signs in to. `flightdeck` administers, `worker` writes the warehouse, `reader` only looks.
DATABASES: dict[Role, str] = {
    "flightdeck": "postgres",
    "airflow": "airflow",
    "mlflow": "mlflow",
    "worker": "warehouse",
    "serving": "warehouse",
    "reader": "warehouse",
    "world": "source",
    "source_reader": "source",
}


class MissingSecret(RuntimeError):
    """A secret's file is not there; the message says how to make it."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FLIGHTDECK_", frozen=True)

    home: Path = ROOT / ".flightdeck"
    host: str = "127.0.0.1"
    port_airflow: int = 8080
    port_mlflow: int = 5000
    port_serving: int = 3000
    port_reports: int = 8090
    port_world: int = 8100
    port_postgres: int = 5442
    # Partitions are calendar months in this zone, and close this many hours after their end.
    timezone: str = "America/New_York"
    close_after_hours: int = 48
    # The stages that must have ended for a partition before it is monitored; without the replayed world: [].
    monitor_awaits: list[str] = ["requests"]
    # Where the marts are delivered to: a folder, or a URI such as s3://bucket/prefix, whose tools take keys and endpoint from
    # their own variables (AWS_…); empty: `lake` in the state folder.
    lake: str = ""
    # Where alerts are posted as JSON; empty: they are rows of ops.alerts only.
    alert_webhook: str = ""
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
            raise MissingSecret(f"no secret at {path}; `flightdeck up` makes it") from None

    def database_url(self, role: Role, driver: str = "") -> str:
        """The PostgreSQL URL of `role`, e.g. driver='+psycopg2' for SQLAlchemy; generated passwords need no quoting."""
        password = self.secret(f"postgres_{role}")
        return f"postgresql{driver}://{role}:{password}@{self.host}:{self.port_postgres}/{DATABASES[role]}"

    def url(self, service: str, user: str = "") -> str:
        """The base address of an HTTP service, with `user` and its password in it when one is given."""
        sign_in = f"{user}:{self.secret(f'{service}_{user}')}@" if user else ""
        return f"http://{sign_in}{self.host}:{getattr(self, f'port_{service}')}"


@lru_cache
def settings() -> Settings:
    found = Settings()
    home = found.home.expanduser().resolve()
    return found.model_copy(update={"home": home, "lake": found.lake or str(home / "lake")})
