"""Random augmentation of training images; deterministic for a given generator state."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHIFT = 0.08
"""Maximum shift, relative to the size of the image."""

ROTATE = math.radians(10)
"""Maximum rotation in radians."""

ZOOM = 0.1
"""Maximum change of scale."""


def augment(pixels: NDArray[np.uint8], generator: np.random.Generator, *, flip: bool) -> NDArray[np.uint8]:
    """Shift, rotate and scale each image randomly, and mirror half of them if `flip` is set.

    Args:
        pixels: `uint8 [n, height, width, 3]`.
        generator: The random generator.
        flip: Whether to mirror images; wrong for digits, for example.

    Returns:
        Images of the same shape; pixels from outside the original are black.
    """
    augmented = np.empty_like(pixels)
    height, width = pixels.shape[1:3]
    for index, original in enumerate(pixels):
        angle = generator.uniform(-ROTATE, ROTATE)
        zoom = 1 + generator.uniform(-ZOOM, ZOOM)
        right, down = generator.uniform(-SHIFT, SHIFT, 2) * (width, height)
        mirror = -1 if flip and generator.random() < 0.5 else 1
        # Pillow needs the inverse transform, from the result to the original; rotate and scale about the centre.
        cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
        centre_x, centre_y = width / 2, height / 2
        a, b, d, e = mirror * cosine, -sine, mirror * sine, cosine
        c = centre_x - a * centre_x - b * centre_y - right
        f = centre_y - d * centre_x - e * centre_y - down
        image = Image.fromarray(original)
        moved = image.transform((width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
        augmented[index] = np.asarray(moved)
    return augmented
