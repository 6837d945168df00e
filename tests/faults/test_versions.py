"""Versions come and go under load: labels, swaps, rollback, and who may ask for them."""

from __future__ import annotations

import json
import re
import time

from model_store.catalog.reference import resolve
from model_store.store.remote import Remote

from .versions import AUTH, MODEL, TOKEN, Load, Start, Store, ask, reload, states, wait_until


def test_every_labelled_version_answers_by_version_and_by_label(store: Store, serve: Start, eight: bytes) -> None:
    assert (store.publish("1", "stable"), store.publish("2", "canary")) == (1, 2)
    server = serve()
    server.wait_for("/readyz")
    wait_until(lambda: states(server).get(2) == ("AVAILABLE", "OK"))
    assert ask(server, eight) == (1, 1)  # The default is the version of MODEL_VERSION, not the highest.
    assert ask(server, eight, f"{MODEL}/versions/2") == (2, 2)
    assert ask(server, eight, f"{MODEL}/labels/canary") == (2, 2)
    assert ask(server, eight, f"{MODEL}/labels/stable") == (1, 1)
    assert server.client.post(f"{MODEL}/versions/3:predict", content=eight).status_code == 404
    classified = server.client.post("/classify?label=canary", content=json.loads(eight)["instances"][0]["b64"])
    assert classified.status_code == 400  # base64 is no image; but the label was found
    metrics = server.client.get("/metrics").text
    assert re.search(r'xception_model_label_version\{label="canary",model="xception"\} 2.0', metrics)
    assert server.client.get("/debug/batching").status_code == 401
    batching = server.client.get("/debug/batching", headers=AUTH).json()
    assert sorted(version["version"] for version in batching["versions"]) == [1, 2]
    for version in batching["versions"]:
        assert str(version["batch_size"]) in version["images_per_second"]
        assert version["lone_image_seconds"] > 0
    assert server.stop() == 0


def test_swap_and_rollback_under_load(store: Store, serve: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    store.publish("2")
    server = serve()
    server.wait_for("/readyz")
    with Load(server, eight) as load:
        wait_until(lambda: load.answers[1, 1] > 20)
        memory = server.runner().memory_full_info().pss
        for target in (2, 1, 2):
            store.label("stable", target)
            assert reload(server).status_code == 200
            assert ask(server, eight) == (target, target)
            seen = load.answers[target, target]
            wait_until(lambda seen=seen, target=target: load.answers[target, target] > seen + 20)  # type: ignore[misc]
        wait_until(lambda: states(server)[1] == ("END", "OK"))
        store.rollback("stable")
        before = time.monotonic()
        assert reload(server).status_code == 200
        assert ask(server, eight) == (1, 1)
        assert time.monotonic() - before < 10
        wait_until(lambda: states(server)[2] == ("END", "OK"))
        assert server.runner().memory_full_info().pss < 1.2 * memory  # Another version would be 1.6 times it.
    assert load.failures == []
    assert set(load.answers) == {(1, 1), (2, 2)}  # Each answer is of the version that it names.
    assert "label 'stable' routes to version 2 (before: 1)" in server.log
    assert server.stop() == 0


def test_no_more_versions_than_may(store: Store, serve: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    store.publish("2", "canary")
    server = serve(MAX_VERSIONS="1")
    server.wait_for("/readyz")
    wait_until(lambda: states(server).get(2) == ("END", "RESOURCE_EXHAUSTED"))
    assert ask(server, eight) == (1, 1)
    assert server.client.post(f"{MODEL}/labels/canary:predict", content=eight).status_code != 200
    assert "MAX_VERSIONS=1" in reload(server).json()["error"]
    assert server.stop() == 0


def test_a_pinned_digest_stays_whatever_the_labels_do(store: Store, serve: Start, eight: bytes) -> None:
    store.publish("1", "stable")
    digest = resolve(Remote.open(store.url), "xception", 1).manifest_digest
    server = serve(MODEL_VERSION=digest)
    server.wait_for("/readyz")
    store.publish("2", "stable")
    assert reload(server).status_code == 200
    assert ask(server, eight) == (1, 1)
    assert ask(server, eight, f"{MODEL}/labels/stable") == (2, 2)
    assert server.stop() == 0


def test_reload_is_for_who_holds_the_token(store: Store, serve: Start) -> None:
    store.publish("1", "stable")
    server = serve()
    server.wait_for("/readyz")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        answer = server.client.post(f"{MODEL}/reload", headers=headers)
        assert answer.status_code == 401
        assert TOKEN not in answer.text
    assert server.client.post("/v1/models/other/reload", headers=AUTH).status_code == 404
    assert server.client.get(f"{MODEL}/reload", headers=AUTH).status_code == 405
    assert reload(server).json()["model_version_status"][0]["state"] == "AVAILABLE"
    store.publish("2", "stable")
    late = server.client.post(f"{MODEL}/reload", headers={**AUTH, "X-Request-Timeout-Ms": "1"})
    assert late.status_code == 504
    wait_until(lambda: states(server).get(2) == ("AVAILABLE", "OK"))  # It goes on all the same.
    assert TOKEN not in server.log
    assert server.stop() == 0
