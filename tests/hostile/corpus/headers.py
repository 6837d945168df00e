"""Headers that nobody sends."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import Item
from .ways import ways_to_ask


def headers() -> Iterator[Item]:
    """Ask each route with headers that nobody sends."""
    png = sound_images()["png"]
    long = "x" * 60_000
    timeouts = [
        "",
        "0",
        "-1",
        "1.5",
        "1e9",
        "30001",
        "9" * 5000,
        "NaN",
        "٣".encode().decode("latin-1"),
        "²",
        "1 2",
        "0x1",
        "5,5",
    ]
    for way, ask in ways_to_ask().items():
        item = ask(png)
        for value in timeouts:
            headers = {**item.headers, "X-Request-Timeout-Ms": value}
            yield Item(f"{way} within {value[:20]!r} ms", item.path, item.body, headers, says="^X-Request-Timeout-Ms: ")
        for value in ("", "urgent", "0", "INTERACTIVE ", "bulk,bulk", "é", long):
            headers = {**item.headers, "X-Request-Priority": value}
            harmless = value.strip().lower() == "interactive"
            yield Item(f"{way} {value[:20]!r}", item.path, item.body, headers, harmless, says="^X-Request-Priority: ")
        for name, value in {
            "X-Request-Id": long,
            "X-Trace": "\xff\xfe",
            "Cookie": long,
            "Authorization": f"Bearer {long}",
            "Range": "bytes=0-0",
            "X-Forwarded-For": "127.0.0.1, " * 1000,
            "X-HTTP-Method-Override": "DELETE",
            "Traceparent": "00-" + "f" * 5000,
            "Accept": "text/html;q=" + "9" * 5000,
            "Accept-Encoding": "gzip, " * 5000,
            "If-None-Match": "*",
            "Origin": "null",
        }.items():
            headers = {**item.headers, name: value}
            yield Item(f"{way} with {name} of {value[:20]!r}", item.path, item.body, headers, True)
        many = {f"X-{number}": "x" for number in range(500)}
        yield Item(f"{way} with 500 headers", item.path, item.body, {**item.headers, **many}, True)
