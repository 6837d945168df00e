"""Documents in JSON that are not what a route takes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.documents import hostile_texts, sound_documents
from tests.hostile.images import sound_images

from .item import EXAMPLES, INDEX, INFER, JSON, PREDICT, REGRESS, Item


def documents() -> Iterator[Item]:
    paths = {"predict": PREDICT, "classify": EXAMPLES, "infer": INFER}
    for name, sound in sound_documents(sound_images()["png"]).items():
        no_json = "^the request is not JSON: " if name == "infer" else "^JSON Parse error: "
        for text in hostile_texts(sound):
            says = no_json if text.broken else ""
            yield Item(f"{name}: {text.name}", paths[name], text.body, JSON, text.harmless, says)
            if text.broken and text.name.startswith("cut at 1"):
                yield Item(f"regress, {name}: {text.name}", REGRESS, text.body, JSON, says="^JSON Parse error: ")
    for name, body in {
        "no JSON": b"{",
        "a list": b"[]",
        "a text": b'{"ready": "yes"}',
        "a number": b'{"ready": 1}',
        "null": b'{"ready": null}',
        "deep": b"[" * 100_000,
        "NaN": b'{"ready": NaN}',
        "UTF-16": '{"ready": true}'.encode("utf-16"),
    }.items():
        yield Item(f"index: {name}", INDEX, body, JSON)
