"""The service as it runs: BentoML's process with our routes, its metrics, and a description that says what there is."""

import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from flightdeck import stack
from flightdeck.settings import settings
from serving.routes import app
from serving.schema import openapi


@pytest.fixture(scope="module")
def service(database: str) -> Iterator[httpx.Client]:
    stack.start(["serving"])
    stack.wait(["serving"], 120)
    with httpx.Client(base_url=settings().url("serving"), timeout=20) as client:
        yield client
    # other tests await all workers that there are
    stack.manager().stopProcess("serving", True)


def test_refusals_pass_through_and_are_counted(service: httpx.Client) -> None:
    answer = service.post("/predict", json={"instances": []})
    assert (answer.status_code, answer.json()["field"]) == (400, "instances")
    answer = service.get("/predict")
    assert (answer.status_code, answer.json()["error"], answer.headers["allow"]) == (405, "refused", "POST")
    assert re.search(r'flightdeck_refused_total{error="invalid",model_version="(none|\d+)",route="/predict"} 1.0', service.get("/metrics").text)


def test_metrics_have_our_own(service: httpx.Client) -> None:
    assert "flightdeck_values_out_of_range_total" in service.get("/metrics").text


def test_the_description_has_exactly_our_routes_and_their_methods(service: httpx.Client) -> None:
    described = service.get("/docs.json").json()
    assert described == openapi()
    assert set(described["paths"]) == {route.path for route in app.routes} - {"/", "/docs.json"}
    posts = {path for path, operations in described["paths"].items() if "post" in operations}
    assert posts == {"/predict", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"}
    assert {tuple(set(operations) - {"parameters"}) for operations in described["paths"].values()} == {("get",), ("post",)}
    assert service.post("/health").status_code == 405


def test_the_start_page_loads_only_what_the_service_has(service: httpx.Client) -> None:
    page = service.get("/").text
    assert "//" not in page
    files = [part.split('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
    assert files
    assert {name: service.get(f"/{name}").status_code for name in files} == dict.fromkeys(files, 200)


def test_health_says_what_serves(service: httpx.Client) -> None:
    assert set(service.get("/health").json()) == {"model_version", "newest_partition", "log_backlog_bytes", "problem"}
    assert service.get("/nowhere").status_code == 404


def test_who_sends_no_request_is_cut_off(service: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", settings().port_serving), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
