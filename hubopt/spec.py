"""What goes into a model and what comes out: names, dtypes and static shapes.

Every dimension says where its size came from, so that nothing in a spec is a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hubopt.errors import UsageError
from hubopt.structure import Structure, leaves

Origin = Literal["flag", "layer", "signature", "trace", "default"]
"""Where a fact came from, strongest first.

``flag``: said for this run; ``layer``: a hint given to the `KerasLayer`;
``signature``: declared by the SavedModel or the callable; ``trace``: computed by
TensorFlow's shape inference; ``default``: the documented default (batch 1).
"""

MaybeShape = tuple[int | None, ...]
"""A shape with ``None`` for an unknown dimension."""


@dataclass(frozen=True, slots=True)
class Dim:
    """One static dimension and where its size came from."""

    size: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model, fully static.

    Attributes:
        name: The layer's own name for the tensor; every artifact keeps it.
        dtype: TensorFlow's name of the dtype, such as ``float32`` or ``string``.
        dims: Every dimension, the batch included.
        dtype_origin: Where the dtype came from.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    dtype_origin: Origin = "signature"

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return tuple(dim.size for dim in self.dims)

    @property
    def argument(self) -> str:
        """The name as a TensorFlow signature can hold it; the same for nearly every name."""
        safe = re.sub(r"[^A-Za-z0-9.\\/>_-]", "_", self.name)
        return safe if re.match(r"[A-Za-z0-9.]", safe) else f"x{safe}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's data; strings count one byte an element."""
        return math.prod(self.shape) * _ITEM_BYTES.get(self.dtype, 4)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Every input and output of a model and how the layer packs them.

    Attributes:
        inputs: The inputs, in the order of ``input_structure``'s leaves.
        outputs: The outputs, in the order of ``output_structure``'s leaves.
        input_structure: The nest of input names that the layer is called with.
        output_structure: The nest of output names that the layer returns.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_structure: Structure
    output_structure: Structure

    def __post_init__(self) -> None:
        for specs, structure in (
            (self.inputs, self.input_structure),
            (self.outputs, self.output_structure),
        ):
            names = [spec.name for spec in specs]
            if names != leaves(structure) or len(set(names)) != len(names):
                raise ValueError(f"names {names} do not match the structure {structure}")

    def __str__(self) -> str:
        return "\n".join(
            [*(f"in  {spec}" for spec in self.inputs), *(f"out {spec}" for spec in self.outputs)]
        )


@dataclass(frozen=True, slots=True)
class Hints:
    """What the user said about shapes and dtypes.

    Keys are tensor names; ``""`` stands for the only input (or the only output).
    Shapes include the batch dimension.
    """

    input_shapes: tuple[tuple[str, MaybeShape], ...] = ()
    dtypes: tuple[tuple[str, str], ...] = ()
    output_shapes: tuple[tuple[str, MaybeShape], ...] = ()
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise UsageError(
                "--batch", f"{self.batch}", "a whole number from 1", "pass, for example, --batch 8"
            )
        for name, shape in (*self.input_shapes, *self.output_shapes):
            if any(size is not None and size < 1 for size in shape):
                raise UsageError(
                    f"shape of {name or 'the only tensor'}",
                    f"{shape}",
                    "sizes from 1, None for an unknown one",
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

    @classmethod
    def parse(
        cls,
        input_shapes: Iterable[str] = (),
        dtypes: Iterable[str] = (),
        output_shapes: Iterable[str] = (),
        batch: int | None = None,
    ) -> Hints:
        """Read hints as the command line writes them.

        >>> Hints.parse(["image=1x224x224x3"], batch=1).input_shapes
        (('image', (1, 224, 224, 3)),)
        """
        return cls(
            input_shapes=tuple(_named_shapes("--input-shape", input_shapes)),
            dtypes=tuple(_split("--dtype", dtypes)),
            output_shapes=tuple(_named_shapes("--output-shape", output_shapes)),
            batch=batch,
        )


def parse_shape(text: str) -> MaybeShape:
    """Read ``1x224x224x3``; ``?`` is an unknown dimension, ``scalar`` the empty shape.

    >>> parse_shape("1x?x3")
    (1, None, 3)

    Raises:
        ValueError: The text is no shape.
    """
    if text == "scalar":
        return ()
    return tuple(None if part == "?" else _size(part) for part in text.split("x"))


def format_shape(shape: Iterable[int | None]) -> str:
    """Write a shape as `parse_shape` reads it."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return "x".join(sizes) if sizes else "scalar"


def _size(part: str) -> int:
    if not (part.isascii() and part.isdecimal() and int(part) > 0):
        raise ValueError(f"{part!r} is no dimension")
    return int(part)


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
                "sizes joined by x, ? for an unknown one, such as 1x224x224x3",
                f"write {option} [name=]1x224x224x3",
            ) from error


_ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "string": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
DTYPES = tuple(_ITEM_BYTES)
"""The dtype names that specs and flags may use."""
