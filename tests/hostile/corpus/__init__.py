"""Requests that nobody should send, for every route that takes a body; the same ones each time."""

from __future__ import annotations

import random

from tests.hostile.images import SEED

from .base64_texts import base64_texts
from .compression import compressed
from .documents import documents
from .forms import forms
from .headers import headers
from .image_files import image_files
from .item import Item
from .large import large
from .media_types import media_types
from .paths import paths
from .pixels import pixels
from .queries import queries
from .tensors import tensors

__all__ = ["Item", "corpus"]


def corpus() -> list[Item]:
    """Return all of them, in an order in which neighbours have nothing in common."""
    items = [*image_files(), *documents(), *base64_texts(), *tensors(), *pixels(), *compressed(), *forms()]
    items += [*media_types(), *headers(), *queries(), *paths(), *large()]
    random.Random(SEED).shuffle(items)
    return items
