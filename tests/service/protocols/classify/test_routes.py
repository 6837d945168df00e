"""`/classify`: which version, how many classes, and what is refused before anything is run."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from service.core.errors import BadRequestError, ModelNotFoundError
from service.protocols.classify.routes import choose_version, read_top_k
from tests.service.protocols.edge import STATE, Client


def request(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


@pytest.mark.parametrize("query", ["", "version=3", "version=003", "label=stable", "top_k=2"])
def test_a_version_is_chosen(query: str) -> None:
    assert choose_version(request(query))(STATE).version == 3


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("version=4", "version 4 is not served; versions: 3; labels: stable"),
        ("label=other", "label 'other' is not served; versions: 3; labels: stable"),
    ],
)
def test_a_version_that_is_not_served(query: str, message: str) -> None:
    with pytest.raises(ModelNotFoundError) as error:
        choose_version(request(query))(STATE)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("version=3&label=stable", "version, label: give one of them, not both"),
        ("version=x", "version: 'x' is not a number"),
        ("topk=1", "topk: no such query parameter; there are label, top_k, version"),
    ],
)
def test_other_queries_are_refused(query: str, message: str) -> None:
    with pytest.raises(BadRequestError) as error:
        choose_version(request(query))
    assert str(error.value) == message


def test_the_number_of_classes() -> None:
    assert read_top_k(request(""), 5, 1000) == 5
    assert read_top_k(request(""), 5, 3) == 3
    assert read_top_k(request("top_k=1000"), 5, 1000) == 1000
    for query in ("top_k=0", "top_k=1001", "top_k=x", "top_k="):
        with pytest.raises(BadRequestError, match="is not a whole number from 1 to 1000"):
            read_top_k(request(query), 5, 1000)


async def test_errors_come_as_json(client: Client) -> None:
    answer = await client.post("/classify", b"{}", **{"Content-Type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (415, ["error"])
    assert (await client.get("/classify")).status_code == 405
