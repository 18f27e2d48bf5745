"""`read_picture`: a picture file as the input of a model, by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.errors import RuntimeMissingError, UsageError
from hubopt.sampling.user_data import DataError
from hubopt.spec import TensorSpec, format_shape

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 1 << 27
"""The most pixels that are decoded; the header says how many there are."""
_WHITE = 255.0


def parse_pixels(text: str | None) -> tuple[float, float] | None:
    """Read ``LOW:HIGH``, the values of black and white.

    Raises:
        UsageError: It is something else.
    """
    if text is None:
        return None
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(
            f"--pixels {text}", "no range", "LOW:HIGH", "write --pixels 0:1, -1:1 or 0:255"
        )
    return low, high


def read_picture(
    path: Path, spec: TensorSpec, pixels: tuple[float, float] | None, resize: bool
) -> NDArray[Any]:
    """Return a picture in the shape and dtype of an input, the batch included.

    Nothing is guessed: a picture of another size is refused unless ``resize`` is set, and so is a
    floating-point input unless ``pixels`` says what black and white are.

    Args:
        path: The file.
        spec: The input, whose channels come last or first.
        pixels: The values of black and white; None for an input of 8-bit integers.
        resize: Whether to scale the picture to the input's size, bilinearly with antialiasing.

    Raises:
        DataError: It is no picture, or it does not fit the input.
        RuntimeMissingError: Pillow is not installed.
    """
    channels_at = _channels_at(spec)
    if channels_at is None:
        raise _misfit(path, f"input {spec.name} is {spec}, no picture", "an input of pictures")
    image = _decode(path, _MODES[spec.dims[channels_at].size])
    sides = [dim for at, dim in enumerate(spec.dims[1:], 1) if at != channels_at]
    height, width = (
        found if dim.name else dim.size
        for dim, found in zip(sides, (image.height, image.width), strict=True)
    )
    if (image.height, image.width) != (height, width):
        if not resize:
            raise _misfit(
                path,
                f"found {image.height} x {image.width} pixels; expected {height} x {width} for "
                f"{spec.name}, {format_shape(spec.named_shape)}",
                "--resize scales it",
            )
        image = image.resize((width, height), resample=2)  # Pillow's number for bilinear
    array = np.asarray(image, np.uint8).reshape(height, width, -1)
    if channels_at == 1:
        array = array.transpose(2, 0, 1)
    return _in_dtype(path, array[None], spec, pixels)


def _channels_at(spec: TensorSpec) -> int | None:
    """Return the axis of the channels: the last one, or the one behind the batch."""
    if len(spec.dims) != 4:
        return None
    fitting = [at for at in (3, 1) if not spec.dims[at].name and spec.dims[at].size in _MODES]
    return fitting[0] if fitting else None


def _decode(path: Path, mode: str) -> Any:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise RuntimeMissingError(
            f"input {path}", "no Pillow is installed here", "a package that reads pictures",
            "pip install 'hubopt[media]', or save the array with numpy.save",
        ) from error  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound is ours
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise _misfit(
                        path,
                        f"found {image.width} x {image.height} pixels; expected at most "
                        f"{_MOST_PIXELS:,} in all",
                        "scale it down",
                    )
                return image.convert(mode)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise _misfit(path, f"it is none of {', '.join(_FORMATS)}", "save it again") from error
    except Exception as error:  # decoders raise nearly every type on a damaged file
        raise _misfit(
            path, f"it cannot be decoded: {type(error).__name__}: {error}", "save it again"
        ) from error


def _in_dtype(
    path: Path, array: NDArray[Any], spec: TensorSpec, pixels: tuple[float, float] | None
) -> NDArray[Any]:
    if spec.dtype == "uint8" and pixels is None:
        return np.ascontiguousarray(array)
    if pixels is None:
        raise _misfit(
            path,
            f"found bytes, 0 to 255; expected {spec.dtype} for {spec.name}, whose scale the model "
            "does not state",
            "say what black and white are: --pixels 0:1, -1:1 or 0:255",
        )
    low, high = pixels
    scaled = array.astype(np.float64) / _WHITE * (high - low) + low
    if spec.dtype in ("uint8", "int8", "int32", "int64"):
        scaled = np.rint(scaled)
    return scaled.astype(spec.dtype if spec.dtype != "bfloat16" else "float32")


def _misfit(path: Path, problem: str, way_out: str) -> DataError:
    return DataError(
        f"input {path}", (f"{path.name}: {problem}",), "a picture that fits the input", way_out
    )
