"""Other content types than a route takes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import CLASSIFY, Item
from .ways import ways_to_ask


def media_types() -> Iterator[Item]:
    """Ask each route with other content types than it takes."""
    ways = ways_to_ask()
    png = sound_images()["png"]
    wrong = [
        "text/html",
        "application/xml",
        "application/pdf",
        "video/mp4",
        "multipart/mixed; boundary=x",
        "json",
        "*/*",
        "/",
        "application/json,application/json",
        "multipart/form-data-x",
        "application/x-msgpack",
        "application/grpc",
        "text/json",
        "application/problem+json",
        "x" * 60_000,
        "é/é",
        '"application/json"',
        "application/vnd.api+json",
        "message/http",
        "application/x-protobuf",
    ]
    for way, ask in ways.items():
        item = ask(png)
        for kind in wrong:
            headers = {**item.headers, "Content-Type": kind}
            yield Item(f"{way} as {kind[:30]}", item.path, item.body, headers, says="^Content-Type: ")
    for way, kind in (("row", "image/png"), ("v2", "multipart/form-data; boundary=x"), ("example", "image/jpeg")):
        item = ways[way](png)
        yield Item(f"{way} as {kind}", item.path, item.body, {"Content-Type": kind}, says="^Content-Type: ")
    for kind in ("application/json", "text/plain"):
        yield Item(f"raw as {kind}", CLASSIFY, png, {"Content-Type": kind}, says="^Content-Type: ")
    for kind in (
        "application/json; charset=utf-16",
        "APPLICATION/JSON",
        "application/json;",
        " application/json ",
        ";",
    ):
        item = ways["row"](png)
        yield Item(f"row as {kind}", item.path, item.body, {"Content-Type": kind}, True)
    for kind in ("image/svg+xml", "image/", "image/*", "IMAGE/PNG;x=y", "application/octet-stream; charset=x"):
        yield Item(f"raw as {kind}", CLASSIFY, png, {"Content-Type": kind}, True)
