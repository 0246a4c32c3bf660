"""The DICOMweb service keeps its own OpenAPI description, whatever a client sends."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from node.app import Node
from node.config import Config, Listen, Web
from node.web.app import create_app
from tests import builders
from tests.dicomweb_parts import MULTIPART, message

CHECKED = ("not_a_server_error", "status_code_conformance", "content_type_conformance")


@schemathesis.serializer('multipart/related; type="application/dicom"')
def as_it_is(_: object, value: object) -> bytes:
    """Send what was made up, in no multipart form: the service has to say what is wrong."""
    return str(value).encode()


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The application of a node that holds a study."""
    node = Node(Config(data_dir=tmp_path_factory.mktemp("node"), listen=Listen(min_free_mb=1)))
    app = create_app(node, Web())
    body = b"".join(message(builders.part10(i) for i in builders.mr_study(slices=1)))
    TestClient(app).post("/dicom-web/studies", content=body, headers=MULTIPART)
    yield app
    node.stop()


def test_every_answer_is_one_that_is_described(app: FastAPI) -> None:
    """No failure of the server, no status and no media type that the description does not have."""
    schema = schemathesis.openapi.from_asgi("/dicom-web/openapi.json", app)
    checks: list[Any] = [CHECKS.get_one(name) for name in CHECKED]
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]

    for operation in operations:

        @settings(
            max_examples=6,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(checks=checks)

        holds()
    assert len(operations) >= 18
