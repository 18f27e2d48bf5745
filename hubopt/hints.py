"""The user's hints about shapes and dtypes, in Python or on the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hubopt.errors import UsageError
from hubopt.spec import DTYPES, Bounds, MaybeShape, format_shape

_NAME = re.compile("(?!scalar$)[A-Za-wyz_][A-Za-wyz_0-9]*")
"""A name without a lowercase x, which separates the sizes of a shape."""


@dataclass(frozen=True, slots=True)
class Hints:
    """The user's hints about shapes and dtypes.

    Keys are tensor names; ``""`` stands for the only input (or the only output).
    Shapes include the batch dimension; a name in a shape is a dynamic dimension. An input shape
    under ``""`` stands for every input of that rank that has no shape of its own.

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

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise UsageError(
                "--batch", f"{self.batch}", "a whole number from 1", "pass, for example, --batch 8"
            )
        for name, shape in (*self.input_shapes, *self.output_shapes):
            if not all(_is_dim(size) for size in shape):
                raise UsageError(
                    f"shape of {name or 'the only tensor'}",
                    f"{shape}",
                    "sizes from 1, None for an unknown one, names for dynamic ones",
                    "correct the hint",
                )
        for name, dtype in self.dtypes:
            if dtype not in DTYPES:
                raise UsageError(
                    f"--dtype {dtype}",
                    f"no dtype has this name (for {name or 'the only tensor'})",
                    f"one of {', '.join(DTYPES)}",
                    "write --dtype [name=]float32",
                )

        for name, bounds in self.bounds:
            if not (_NAME.fullmatch(name) and 1 <= bounds.min <= bounds.opt <= bounds.max):
                raise UsageError(
                    f"--dim {name}",
                    f"{bounds}",
                    "a name, and min:opt:max in this order, from 1",
                    "write, for example, --dim B=1:8:32",
                )

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
