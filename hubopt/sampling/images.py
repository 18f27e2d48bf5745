"""Which shapes are images', and pictures made by rule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_CHANNELS = (1, 3, 4)
"""Grey, colour, and colour with opacity."""
_TILES = 4
"""Along each side of a mosaic."""
_SMALLEST_SIDE = 8
"""Pixels; a tensor smaller than this is rather a feature map."""


def channel_axis(shape: Sequence[int | None]) -> Literal[1, 3] | None:
    """Return which axis of ``shape`` is the channels; None if it is no shape of images.

    Args:
        shape: With the batch; None for open sizes, which may be a picture's height and width.
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
    """Draw pictures: slow changes of colour, a few shapes with edges, a little grain.

    Args:
        shape: Of rank 4, the batch first.
        channels_at: Which axis is the channels.
        generator: Where chance comes from.

    Returns:
        ``float64`` of ``shape`` in [0, 1); each picture comes to both ends.
    """
    height, width = shape[2:] if channels_at == 1 else shape[1:3]
    pictures = [_draw_image(height, width, shape[channels_at], generator) for _ in range(shape[0])]
    return np.moveaxis(np.stack(pictures), 3, channels_at)


def draw_mosaics(
    shape: Sequence[int], channels_at: Literal[1, 3], generator: np.random.Generator
) -> NDArray[Any]:
    """Draw patchworks: noise, stripes, plain colours and pictures side by side.

    A network of convolutions sees many textures in one of them, so that more of its units answer.

    Args:
        shape: Of rank 4, the batch first.
        channels_at: Which axis is the channels.
        generator: Where chance comes from.

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
        waves = generator.uniform(-0.5, 0.5, (2, channels))  # a half is the finest there is
        stripes = np.cos(2 * np.pi * (waves[0] * y + waves[1] * x + generator.random(channels)))
        return np.asarray((stripes + 1) / 2 * (1 - 1e-6))
    return _draw_image(height, width, channels, generator)


def _draw_image(
    height: int, width: int, channels: int, generator: np.random.Generator
) -> NDArray[Any]:
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    picture = np.zeros((height, width, channels))
    for _ in range(4):
        waves_y, waves_x, phase = generator.uniform(-3, 3, size=3)
        wave = np.cos(2 * np.pi * (waves_y * y + waves_x * x + phase))
        picture += wave[..., None] * generator.normal(size=channels)
    for _ in range(4):
        center_y, center_x = generator.random(2)
        radius = generator.uniform(0.1, 0.4)
        disc = (y - center_y) ** 2 + (x - center_x) ** 2 < radius**2
        picture[disc] = 0.3 * picture[disc] + generator.normal(scale=3, size=channels)
    picture += generator.normal(scale=0.05, size=picture.shape)
    picture -= picture.min()
    return np.asarray(picture / max(picture.max(), 1e-6) * (1 - 1e-6))
