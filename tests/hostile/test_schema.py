"""The description of the API, tried out by a stranger: whatever it allows, and forbids, is answered as it says."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from tests.conftest import SUMMARY, RecordProperty
from tests.server import Demo, Server

KEY, TOKEN = "a key for the tests", "a token for the tests"
OPERATORS = {"/v1/models/{model}/reload", "/debug/batching"}

CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
EXAMPLES = 6
"""Random ones of each operation; others are systematic."""


@pytest.fixture(scope="module")
def server(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that asks for keys, and has an operator."""
    folder = tmp_path_factory.mktemp("described")
    key = {"name": "stranger", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    (folder / "keys.json").write_text(json.dumps({"keys": [key]}))
    with demo(
        ADMIN_TOKEN=TOKEN,
        API_KEYS_FILE=str(folder / "keys.json"),
        MAX_REQUEST_MIB="2",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = server.client.get("/docs.json").json()
    return answer


def test_every_answer_is_described(server: Server, document: dict[str, Any], record_property: RecordProperty) -> None:
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "base-url": server.url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "operations": [
                {"include-path": path, "headers": {"Authorization": f"Bearer {TOKEN}"}} for path in OPERATORS
            ],
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none", "no-shrink": True},
            "phases": {"stateful": {"enabled": False}},
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
                "not_a_server_error": {"enabled": True, "expected-statuses": ["2xx", "4xx", "504"]},  # Within 1 ms.
            },
        }
    )
    described = schemathesis.openapi.from_url(f"{server.url}/docs.json", config=config)
    asked, problems = Counter[str](), set[str]()
    for event in from_schema(described).execute():
        if isinstance(event, ScenarioFinished):
            label = event.recorder.label
            asked[label] += len(event.recorder.interactions)
            for checks in event.recorder.checks.values():
                problems |= {f"{label}: {check.failure_info.failure!r}" for check in checks if check.failure_info}
        elif isinstance(event, NonFatalError | FatalError):
            problems.add(repr(event))
    assert not problems, "\n".join(sorted(problems))
    assert len(asked) == sum(map(len, document["paths"].values()))
    record_property(SUMMARY, f"{asked.total()} requests to {len(asked)} operations, made from their description")
    assert server.client.get("/readyz").status_code == 200


def test_every_example_is_answered_as_described(server: Server, document: dict[str, Any]) -> None:
    """With what Swagger UI fills in, nothing typed, every operation is answered with 200; `:regress` never is."""
    for method, path, operation in operations(document):
        if "200" not in operation["responses"]:
            assert path.endswith(":regress")
            continue
        sent = bodies(server, operation)
        assert sent or "requestBody" not in operation, path
        for body in sent or [{}]:
            answer = server.client.request(method, path_of(path, operation), headers=credential(operation), **body)
            assert answer.status_code == 200, (path, answer.text)
            kind = answer.headers["content-type"].partition(";")[0]
            schema = operation["responses"]["200"]["content"][kind]["schema"]
            content = answer.json() if kind == "application/json" else answer.text
            described = {**schema, "components": document["components"]}
            jsonschema_rs.Draft202012Validator(described).validate(content)


def test_what_needs_a_credential_is_refused_without_it(server: Server, document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        answer = server.client.request(method, path_of(path, operation))
        assert (answer.status_code == 401) == bool(operation["security"]) == ("401" in operation["responses"]), path
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert list(answer.json()) == ["error"]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    paths = document["paths"].items()
    return [(method, path, operation) for path, methods in paths for method, operation in methods.items()]


def path_of(path: str, operation: dict[str, Any]) -> str:
    """Return a path with the examples of its parameters, or their only value."""
    parameters = [part for part in operation.get("parameters", []) if part["in"] == "path"]
    values = {part["name"]: part.get("example", part["schema"].get("enum", [None])[0]) for part in parameters}
    assert None not in values.values(), path
    return path.format(**values)


def credential(operation: dict[str, Any]) -> dict[str, str]:
    """Return the header that an operation needs."""
    (scheme,) = [name for need in operation["security"] for name in need] or [None]
    return {"Authorization": f"Bearer {TOKEN if scheme == 'adminToken' else KEY}"} if scheme else {}


def bodies(server: Server, operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return arguments that send each example of a body; a file is sent as it is, or as the field of a form."""
    found: list[dict[str, Any]] = []
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        for example in content.get("examples", {}).values():
            if "value" in example:
                found.append({"json": example["value"]})
                continue
            file = server.client.get(f"/{example['externalValue']}")
            assert file.headers["content-type"] == "image/png"
            form = media_type == "multipart/form-data"
            found.append({"files": {"image": file.content}} if form else {"content": file.content})
    return found
