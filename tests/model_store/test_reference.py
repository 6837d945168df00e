from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import NotFoundError, UsageError
from model_store.publish import publish
from model_store.reference import Reference, Resolved, parse_reference, resolve

from .conftest import Store


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("xception", Reference("xception", "stable")),
        ("xception:3", Reference("xception", 3)),
        ("Xc.ep_t-1:canary", Reference("Xc.ep_t-1", "canary")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:0", "a:03", "a:b:c", "../a", "a/b", ".a", "a:-1", "a:٣", "a\n", "a" * 129]
)
def test_references_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_resolves_labels_and_numbers(store: Store, small: Path) -> None:
    remote = store.open()
    published = publish(small, remote, "xception", labels=["stable"])
    assert resolve(remote, "xception") == Resolved("xception", 1, published.digest, "stable")
    by_number = Resolved("xception", 1, published.digest, None)
    assert resolve(remote, "xception", 1) == resolve(remote, "xception", "1") == by_number


def test_errors_list_what_there_is(store: Store, small: Path) -> None:
    remote = store.open()
    publish(small, remote, "xception", labels=["stable", "canary"])
    publish(small, remote, "other")
    with pytest.raises(NotFoundError, match="model 'xception' has no label 'beta'; it has: canary, stable"):
        resolve(remote, "xception", "beta")
    with pytest.raises(NotFoundError, match="model 'xception' has no version 7; it has: 1"):
        resolve(remote, "xception", 7)
    with pytest.raises(NotFoundError, match="model 'other' has no labels; name a version: 1"):
        resolve(remote, "other")
    for selector in ("stable", 1):
        with pytest.raises(NotFoundError, match="holds no model 'third'; it holds: other, xception"):
            resolve(remote, "third", selector)
