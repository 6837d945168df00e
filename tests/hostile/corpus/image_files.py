"""Hostile images, asked about in every way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.hostile.images import ImageFile, hostile_images, of_other_formats, sound_images

from .item import Item
from .ways import ways_to_ask


def image_files() -> Iterator[Item]:
    """Ask about each image in one way, and about those of other formats in all."""

    def ask(image: ImageFile, way: str) -> Item:
        item = ways[way](image.data)
        return Item(f"{image.name}, {way}", item.path, item.body, item.headers, image.harmless, item.says)

    ways = ways_to_ask()
    for image, way in zip(hostile_images(), itertools.cycle(ways), strict=False):
        yield ask(image, way)
    for image in of_other_formats(sound_images()):
        for way in ways:
            yield ask(ImageFile(f"once more {image.name}", image.data, image.harmless), way)
