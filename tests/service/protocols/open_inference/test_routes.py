"""The paths of the Open Inference Protocol, as far as they need no engine."""

from __future__ import annotations

import pytest

from tests.service.protocols.edge import STATE, Client


@pytest.mark.parametrize("path", ["/v2/models/cats", "/v2/models/cats/versions/3", "/v2/models/cats/versions/stable"])
async def test_metadata_and_readiness(client: Client, path: str) -> None:
    assert (await client.get(path)).json()["versions"] == ["3"]
    assert (await client.get(f"{path}/ready")).json() == {"name": "cats", "ready": True}


async def test_server_and_health(client: Client) -> None:
    assert (await client.get("/v2")).json()["name"] == "xception-service"
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    client.state = STATE.model_copy(update={"default": None, "served": (), "waiting_for": "nothing published"})
    assert (await client.get("/v2/health/live")).status_code == 200
    answer = await client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"error": "no model is available yet: nothing published"})


async def test_the_index(client: Client) -> None:
    for body in (b"", b'{"ready": true}'):
        (entry,) = (await client.post("/v2/repository/index", body)).json()
        assert (entry["name"], entry["version"], entry["state"]) == ("cats", "3", "READY")


@pytest.mark.parametrize("what", ["load", "unload"])
async def test_versions_follow_the_store_alone(client: Client, what: str) -> None:
    assert (await client.post(f"/v2/repository/models/cats/{what}")).status_code == 400
    assert (await client.post(f"/v2/repository/models/dogs/{what}")).status_code == 404


async def test_a_request_is_parsed_before_anything_is_run(client: Client) -> None:
    answer = await client.post("/v2/models/cats/infer", b"{}")
    assert (answer.status_code, answer.json()["error"][:8]) == (400, "inputs: ")
    assert (await client.post("/v2/models/dogs/infer", b"{}")).status_code == 404
    assert (await client.post("/v2/models/cats/infer", b"{}", **{"Content-Encoding": "br"})).status_code == 415
