"""Small random changes of the training pictures; a pure function of the generator that is given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHIFT = 0.08
"""Most that a picture moves, as a share of its size."""

ROTATE = math.radians(10)

ZOOM = 0.1
"""Most that it grows or shrinks, as a share of its size."""


def augment(pixels: NDArray[np.uint8], generator: np.random.Generator, *, flip: bool) -> NDArray[np.uint8]:
    """Move, turn and zoom each picture a little, and mirror it at random where `flip` says so.

    Args:
        pixels: `uint8 [n, height, width, 3]`.
        generator: Where chance comes from.
        flip: Whether a mirrored picture still shows the same; not so for digits.

    Returns:
        Pictures of the same shape; what comes in from outside is black.
    """
    changed = np.empty_like(pixels)
    height, width = pixels.shape[1:3]
    for index, picture in enumerate(pixels):
        angle = generator.uniform(-ROTATE, ROTATE)
        zoom = 1 + generator.uniform(-ZOOM, ZOOM)
        right, down = generator.uniform(-SHIFT, SHIFT, 2) * (width, height)
        mirror = -1 if flip and generator.random() < 0.5 else 1
        # Pillow asks where each pixel of the result comes from; turn and zoom about the middle.
        cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
        middle_x, middle_y = width / 2, height / 2
        a, b, d, e = mirror * cosine, -sine, mirror * sine, cosine
        c = middle_x - a * middle_x - b * middle_y - right
        f = middle_y - d * middle_x - e * middle_y - down
        image = Image.fromarray(picture)
        moved = image.transform((width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
        changed[index] = np.asarray(moved)
    return changed
