"""The other tools' pages, as entries of Airflow's own navigation: one place to start from."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from flightdeck.settings import settings

REPORTS = settings().public_url("reports")


class FlightdeckPages(AirflowPlugin):
    name = "flightdeck_pages"
    external_views: ClassVar[list[dict[str, Any]]] = [
        {"name": name, "href": href, "destination": "nav", "category": "browse", "url_route": route}
        for name, href, route in [
            ("MLflow", settings().public_url("mlflow"), "mlflow"),
            ("The year", f"{REPORTS}/year/index.html", "year"),
            ("Data Docs", f"{REPORTS}/data-docs/index.html", "data-docs"),
            ("Control charts", f"{REPORTS}/quality/index.html", "control-charts"),
            ("Drift reports", f"{REPORTS}/drift/index.html", "drift"),
            ("Models", f"{REPORTS}/models/index.html", "models"),
            ("Catalog", f"{REPORTS}/catalog/index.html", "catalog"),
            ("dbt docs", f"{REPORTS}/dbt/index.html", "dbt-docs"),
            ("Serving API", settings().public_url("serving"), "serving-api"),
        ]
    ]
