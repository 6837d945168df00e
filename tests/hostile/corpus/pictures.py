"""Hostile pictures, asked about in every way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.hostile.images import Picture, hostile_pictures, of_other_formats, sound_pictures

from .item import Item
from .ways import ways_to_ask


def pictures() -> Iterator[Item]:
    """Ask about each picture in one way, and about those of other formats in all."""

    def ask(picture: Picture, way: str) -> Item:
        item = ways[way](picture.data)
        return Item(f"{picture.name}, {way}", item.path, item.body, item.headers, picture.harmless, item.says)

    ways = ways_to_ask()
    for picture, way in zip(hostile_pictures(), itertools.cycle(ways), strict=False):
        yield ask(picture, way)
    for picture in of_other_formats(sound_pictures()):
        for way in ways:
            yield ask(Picture(f"once more {picture.name}", picture.data, picture.harmless), way)
