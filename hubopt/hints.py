"""The user's hints about shapes and dtypes, in Python or on the command line."""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from hubopt._util.short_repr import short_repr
from hubopt.errors import UsageError
from hubopt.spec import DTYPES, Bounds, MaybeShape, format_shape

R = TypeVar("R")

_NAME = re.compile("(?!scalar$)[A-Za-wyz_][A-Za-wyz_0-9]*")
"""A name without a lowercase x, which separates the sizes of a shape."""


ShapeLike: TypeAlias = "str | Iterable[int | str | None]"
"""``"1x224x224x3"``, or the sizes."""
ShapesLike: TypeAlias = "Mapping[str, ShapeLike] | Iterable[tuple[str, ShapeLike]] | str"
"""Shapes by tensor name; or one text, for the only tensor."""
BoundsLike: TypeAlias = "Bounds | str | Iterable[int]"
"""``Bounds(1, 8, 32)``, ``"1:8:32"`` or the three numbers."""


@dataclass(frozen=True, slots=True, init=False)
class Hints:
    """The user's hints about shapes and dtypes.

    Keys are tensor names; ``""`` stands for the only input (or the only output).
    Shapes include the batch dimension; a name in a shape is a dynamic dimension. An input shape
    under ``""`` stands for every input of that rank that has no shape of its own.

    >>> Hints({"image": "1x224x224x3"}, batch="8").input_shapes
    (('image', (1, 224, 224, 3)),)

    Attributes:
        input_shapes: Shapes of inputs.
        dtypes: Dtypes of inputs.
        output_shapes: Shapes of outputs; a dimension that is None is left open, unless the model
            settles it.
        batch: The batch size of every input whose batch dimension is open.
        bounds: The bounds of each dynamic dimension.
    """

    input_shapes: tuple[tuple[str, MaybeShape], ...] = ()
    dtypes: tuple[tuple[str, str], ...] = ()
    output_shapes: tuple[tuple[str, MaybeShape], ...] = ()
    batch: int | None = None
    bounds: tuple[tuple[str, Bounds], ...] = ()

    __repr__ = short_repr

    def __init__(
        self,
        input_shapes: ShapesLike = (),
        dtypes: Mapping[str, str] | Iterable[tuple[str, str]] | str = (),
        output_shapes: ShapesLike = (),
        batch: int | str | None = None,
        bounds: Mapping[str, BoundsLike] | Iterable[tuple[str, BoundsLike]] = (),
    ) -> None:
        """Take hints as a person passes them.

        Args:
            input_shapes: By input, a text such as ``"1x224x224x3"`` or the sizes.
            dtypes: By input; one text for the only input.
            output_shapes: By output, like ``input_shapes``.
            batch: A whole number, or one as a text.
            bounds: By dimension, `Bounds`, ``"1:8:32"`` or three numbers.

        Raises:
            UsageError: Something is no shape, dtype, batch or bounds.
        """
        values = {
            "input_shapes": _pairs("input_shapes", input_shapes, _shape),
            "dtypes": _pairs("dtypes", dtypes, _dtype),
            "output_shapes": _pairs("output_shapes", output_shapes, _shape),
            "batch": None if batch is None else _batch(batch),
            "bounds": _pairs("bounds", bounds, _checked_bounds),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(
        cls,
        input_shapes: Iterable[str] = (),
        dtypes: Iterable[str] = (),
        output_shapes: Iterable[str] = (),
        batch: int | None = None,
        dims: Iterable[str] = (),
    ) -> Hints:
        """Read hints as the command line writes them.

        >>> Hints.parse(["image=1x224x224x3"], batch=1).input_shapes
        (('image', (1, 224, 224, 3)),)
        >>> Hints.parse(["ids=Bx128"], dims=["B=1:8:32"]).bounds
        (('B', Bounds(min=1, opt=8, max=32)),)
        """
        return cls(
            input_shapes=tuple(_named_shapes("--input-shape", input_shapes)),
            dtypes=tuple(_split("--dtype", dtypes)),
            output_shapes=tuple(_named_shapes("--output-shape", output_shapes)),
            batch=batch,
            bounds=tuple(_bounds(dims)),
        )


def _pairs(field: str, given: Any, read: Callable[[str, Any], R]) -> tuple[tuple[str, R], ...]:
    """Return hints by name: a mapping, pairs, or one value for the only tensor."""
    if isinstance(given, str):
        given = {"": given}
    try:
        items = list(given.items() if isinstance(given, Mapping) else given)
        return tuple((str(name), read(str(name), value)) for name, value in items)
    except (TypeError, ValueError) as error:
        raise UsageError(
            field,
            f"{given!r}",
            "values by name, such as {'image': '1x224x224x3'}",
            "pass a dict",
        ) from error


def _shape(name: str, value: Any) -> MaybeShape:
    try:
        sizes = parse_shape(value) if isinstance(value, str) else tuple(map(_size, value))
    except (TypeError, ValueError):
        sizes = (0,)
    if not all(_is_dim(size) for size in sizes):
        raise UsageError(
            f"shape of {name or 'the only tensor'}",
            f"{value}",
            "sizes from 1, None for an unknown one, names for dynamic ones",
            "correct the hint",
        )
    return sizes


def _size(size: Any) -> int | str | None:
    return size if size is None or isinstance(size, str) else operator.index(size)


def _dtype(name: str, value: Any) -> str:
    dtype = value if isinstance(value, str) else getattr(value, "name", None)
    if dtype not in DTYPES:
        raise UsageError(
            f"--dtype {value}",
            f"no dtype has this name (for {name or 'the only tensor'})",
            f"one of {', '.join(DTYPES)}",
            "write --dtype [name=]float32",
        )
    return str(dtype)


def _batch(value: Any) -> int:
    try:
        if isinstance(value, str):
            batch = int(value) if value.isascii() and value.isdecimal() else 0
        else:
            batch = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        batch = 0
    if batch < 1:
        raise UsageError(
            "--batch", f"{value}", "a whole number from 1", "pass, for example, --batch 8"
        )
    return batch


def _checked_bounds(name: str, value: Any) -> Bounds:
    bounds: Any = value
    if not isinstance(value, Bounds):
        numbers = value.split(":") if isinstance(value, str) else list(value)
        try:
            bounds = Bounds(*map(int, numbers))
        except (TypeError, ValueError):
            bounds = Bounds(0, 0, 0)
    if not (_NAME.fullmatch(name) and 1 <= bounds.min <= bounds.opt <= bounds.max):
        raise UsageError(
            f"--dim {name}",
            f"{value}",
            "a name, and min:opt:max in this order, from 1",
            "write, for example, --dim B=1:8:32",
        )
    return bounds  # type: ignore[no-any-return]


def flag(option: str, name: str, value: MaybeShape | str) -> str:
    """Write an option of one tensor as it is passed on the command line.

    >>> flag("--output-shape", "boxes", (None, 4))
    "--output-shape 'boxes=?x4'"
    """
    text = value if isinstance(value, str) else format_shape(value)
    return f"{option} {shlex.quote(f'{name}={text}')}"


def parse_shape(text: str) -> MaybeShape:
    """Read ``1x224x224x3``.

    ``?`` is an unknown dimension, a name a dynamic one, ``scalar`` the empty shape.

    >>> parse_shape("Bx?x3")
    ('B', None, 3)

    Raises:
        ValueError: The text is not a shape.
    """
    if text == "scalar":
        return ()
    return tuple(map(_dim, text.split("x")))


def _dim(part: str) -> int | str | None:
    if part == "?":
        return None
    if part.isascii() and part.isdecimal() and int(part) > 0:
        return int(part)
    if _NAME.fullmatch(part):
        return part
    raise ValueError(f"{part!r} is not a dimension")


def _is_dim(size: int | str | None) -> bool:
    if isinstance(size, str):
        return bool(_NAME.fullmatch(size))
    return size is None or size > 0


def _bounds(texts: Iterable[str]) -> Iterator[tuple[str, Bounds]]:
    for name, value in _split("--dim", texts):
        numbers = value.split(":")
        if len(numbers) != 3 or not all(
            number.isascii() and number.isdecimal() for number in numbers
        ):
            raise UsageError(
                f"--dim {name}={value}",
                "these are not bounds",
                "a name, and min:opt:max",
                "write, for example, --dim B=1:8:32",
            )
        yield name, Bounds(*map(int, numbers))


def _split(option: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for text in texts:
        name, _, value = text.rpartition("=")
        if name in seen:
            raise UsageError(
                option,
                f"given twice for {name or 'the only tensor'}",
                "one value for each tensor",
                "drop one of them",
            )
        seen.add(name)
        yield name, value


def _named_shapes(option: str, texts: Iterable[str]) -> Iterator[tuple[str, MaybeShape]]:
    for name, value in _split(option, texts):
        try:
            yield name, parse_shape(value)
        except ValueError as error:
            raise UsageError(
                f"{option} {value}",
                str(error),
                "sizes joined by x, such as 1x224x224x3; ? for an unknown one, "
                "a name without a lowercase x for a dynamic one",
                f"write {option} [name=]1x224x224x3",
            ) from error
