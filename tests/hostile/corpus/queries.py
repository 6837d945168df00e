"""Query parameters that are none."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.images import sound_images

from .item import CLASSIFY, Item


def queries() -> Iterator[Item]:
    png = sound_images()["png"]
    for query, says in {
        "top_k=0": "^top_k: ",
        "top_k=-1": "^top_k: ",
        "top_k=11": "^top_k: ",
        "top_k=": "^top_k: ",
        "top_k=1e1": "^top_k: ",
        "top_k=%00": "^top_k: ",
        "top_k=%D9%A3": "^top_k: ",
        f"top_k={'9' * 5000}": "^top_k: ",
        "top_k=1%0d%0aX-Injected:%20yes": "^top_k: ",
        "version=": "^version: ",
        "version=-1": "^version: ",
        "version=x": "^version: ",
        "version=1.0": "^version: ",
        f"version={'9' * 5000}": "^version: ",
        "version=999999999999999999": "^version 999999999999999999 is not served",
        "version=2": "^version 2 is not served",
        "label=": "^label '' is not served",
        "label=../stable": "is not served",
        "label=%00": "is not served",
        f"label={'x' * 60_000}": "is not served|^label",
        "label=%F0%9F%98%80%ED%A0%80": "is not served",
        "version=1&label=stable": "^version, label: give one of them",
        "unknown=1": "^unknown: no such query parameter",
        f"{'x' * 60_000}=1": "^x+: no such query parameter",
        "%00=1": "no such query parameter",
        "&".join(f"k{number}=1" for number in range(5000)): "^k0: no such query parameter",
        "top_k[]=1": "no such query parameter",
        "top_k=1;version=1": "^top_k: ",
    }.items():
        yield Item(f"classify?{query[:40]}", f"{CLASSIFY}?{query}", png, {"Content-Type": "image/png"}, says=says)
    for query in ("top_k=1&top_k=2", "", "&&&", "version=0001", "label=stable", "#"):
        yield Item(f"classify?{query}", f"{CLASSIFY}?{query}", png, {"Content-Type": "image/png"}, True)
