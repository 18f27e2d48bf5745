"""Which shapes are images', and pictures made by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_CHANNELS = (1, 3, 4)
"""Grey, colour, and colour with opacity."""
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
