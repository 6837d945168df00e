"""The description of the API, tried out by a stranger: whatever it allows, and forbids, is answered as it says."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from tests.conftest import SUMMARY, RecordProperty
from tests.server import Demo, Server

KEY, TOKEN = "a key for the tests", "a token for the tests"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
OPERATORS = {"/v1/models/{model}/reload", "/debug/batching"}

CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
EXAMPLES = 6
"""Random ones of each operation; others are systematic."""

NAMES = {"model": "xception", "version": "1", "label": "stable"}


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


def test_what_is_right_is_answered_as_described(server: Server, document: dict[str, Any], golden: list[Path]) -> None:
    image = golden[8].read_bytes()
    text = b64encode(image).decode()
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [text]}
    for path, body in {
        "/v1/models/{model}:predict": {"instances": [{"b64": text}]},
        "/v1/models/{model}/versions/{version}:predict": {"inputs": {"image_bytes": [{"b64": text}]}},
        "/v1/models/{model}/labels/{label}:classify": {"examples": [{"image_bytes": {"b64": text}}]},
        "/v2/models/{model}/infer": {"inputs": [tensor]},
        "/v2/models/{model}/versions/{version}/infer": {"id": "mine", "inputs": [tensor]},
        "/v2/repository/index": {"ready": True},
    }.items():
        answer = server.client.post(path.format(**NAMES), json=body, headers=AUTHORIZATION)
        assert answer.status_code == 200, answer.text
        check(document, path, answer.json())
    for options in ({"files": {"image": image}}, {"content": image}):
        answer = server.client.post("/classify", headers=AUTHORIZATION, **options)
        assert answer.status_code == 200, answer.text
        check(document, "/classify", answer.json())


def check(document: dict[str, Any], path: str, answer: Any) -> None:
    """Fail unless the answer of a path is as the description says."""
    schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}).validate(answer)


def test_what_asks_for_a_key_is_described(server: Server, document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = server.client.request(method, path.format(**NAMES))
            assert (answer.status_code == 401) == ("401" in operation["responses"]), (method, path, answer.text)
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert list(answer.json()) == ["error"]
