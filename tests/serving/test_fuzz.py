"""The endpoints, asked whatever their OpenAPI description allows and what it does not: no error of ours, no hang, no stack trace."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

SECONDS = 5
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 60


@pytest.fixture
def described(release: Callable[..., Any], deployed: Callable[[dict[str, Any]], int], look: Callable[[], None], address: tuple[str, int]) -> Any:
    """The description that the service itself gives, with a release that serves."""
    deployed(release())
    look()
    return schemathesis.openapi.from_url(f"http://{address[0]}:{address[1]}/docs.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
def test_any_request_gets_an_answer_that_the_description_promises(described: Any, mode: GenerationMode) -> None:
    asked: Counter[tuple[str, int]] = Counter()
    for operation in [found.ok() for found in described.get_all_operations()]:

        @seed(2013)
        @hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def each(case: Any) -> None:
            answer = case.call(timeout=SECONDS)
            asked[case.operation.label, answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)
            assert "Traceback" not in answer.text
            assert 'File "' not in answer.text

        try:
            each()
        except Unsatisfiable:
            # an operation without parameters and body has nothing that could be forbidden
            assert mode is GenerationMode.NEGATIVE
            assert not list(operation.body)
    wanted = {"POST /predict", "POST /v2/models/{name}/infer", "POST /v2/models/{name}/versions/{version}/infer"}
    assert wanted <= {label for label, _ in asked}, asked
    statuses = {status for label, status in asked if label == "POST /predict"}
    assert statuses & ({200} if mode is GenerationMode.POSITIVE else {400, 415}), asked
