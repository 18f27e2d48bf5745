"""Recognizes the shapes of images, and draws synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_CHANNELS = (1, 3, 4)
"""Greyscale, color, and color with opacity."""
_TILES = 4
"""The number of tiles along each side of a mosaic."""
_SMALLEST_SIDE = 8
"""The smallest side of an image in pixels; a smaller tensor is more likely a feature map."""


def channel_axis(shape: Sequence[int | None]) -> Literal[1, 3] | None:
    """Return the channel axis of ``shape``; None if it is not the shape of images.

    Args:
        shape: The shape with the batch. Open sizes are None; height and width may be open.
    """
    if len(shape) != 4:
        return None
    _, first, middle, last = shape
    if last in _CHANNELS and _are_sides(first, middle):
        return 3
    return 1 if first in _CHANNELS and _are_sides(middle, last) else None


def _are_sides(*sizes: int | None) -> bool:
    return all(size is None or size >= _SMALLEST_SIDE for size in sizes)


def draw_images(
    shape: Sequence[int], channels_at: Literal[1, 3], generator: np.random.Generator
) -> NDArray[Any]:
    """Draw images: smooth gradients of color, a few discs with sharp edges, a little noise.

    Args:
        shape: The shape, of rank 4, with the batch first.
        channels_at: The channel axis.
        generator: The random generator.

    Returns:
        ``float64`` of ``shape`` in [0, 1); each image extends to both ends.
    """
    height, width = shape[2:] if channels_at == 1 else shape[1:3]
    images = [_draw_image(height, width, shape[channels_at], generator) for _ in range(shape[0])]
    return np.moveaxis(np.stack(images), 3, channels_at)


def draw_mosaics(
    shape: Sequence[int], channels_at: Literal[1, 3], generator: np.random.Generator
) -> NDArray[Any]:
    """Draw mosaics: tiles of noise, stripes, plain colors and images.

    A mosaic shows many textures to a convolutional network, so that more of its units are active.

    Args:
        shape: The shape, of rank 4, with the batch first.
        channels_at: The channel axis.
        generator: The random generator.

    Returns:
        ``float64`` of ``shape`` in [0, 1).
    """
    height, width = shape[2:] if channels_at == 1 else shape[1:3]
    mosaics = [_draw_mosaic(height, width, shape[channels_at], generator) for _ in range(shape[0])]
    return np.moveaxis(np.stack(mosaics), 3, channels_at)


def _draw_mosaic(
    height: int, width: int, channels: int, generator: np.random.Generator
) -> NDArray[Any]:
    mosaic = np.empty((height, width, channels))
    rows, columns = (np.linspace(0, size, _TILES + 1).astype(int) for size in (height, width))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            size = (bottom - top, right - left, channels)
            mosaic[top:bottom, left:right] = _draw_tile(size, generator)
    return mosaic


def _draw_tile(size: tuple[int, int, int], generator: np.random.Generator) -> NDArray[Any]:
    height, width, channels = size
    texture = generator.integers(4)
    if texture == 0:
        return generator.random(size)
    if texture == 1:
        return np.broadcast_to(generator.random(channels), size)
    if texture == 2:
        y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
        waves = generator.uniform(-0.5, 0.5, (2, channels))  # 0.5 is the Nyquist frequency
        stripes = np.cos(2 * np.pi * (waves[0] * y + waves[1] * x + generator.random(channels)))
        return np.asarray((stripes + 1) / 2 * (1 - 1e-6))
    return _draw_image(height, width, channels, generator)


def _draw_image(
    height: int, width: int, channels: int, generator: np.random.Generator
) -> NDArray[Any]:
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    image = np.zeros((height, width, channels))
    for _ in range(4):
        waves_y, waves_x, phase = generator.uniform(-3, 3, size=3)
        wave = np.cos(2 * np.pi * (waves_y * y + waves_x * x + phase))
        image += wave[..., None] * generator.normal(size=channels)
    for _ in range(4):
        center_y, center_x = generator.random(2)
        radius = generator.uniform(0.1, 0.4)
        disc = (y - center_y) ** 2 + (x - center_x) ** 2 < radius**2
        image[disc] = 0.3 * image[disc] + generator.normal(scale=3, size=channels)
    image += generator.normal(scale=0.05, size=image.shape)
    image -= image.min()
    return np.asarray(image / max(image.max(), 1e-6) * (1 - 1e-6))
