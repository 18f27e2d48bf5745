"""The inputs and outputs of a model: names, dtypes and shapes.

Every dimension is static, or named with bounds, and records where it came from, so that nothing
in a spec is a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hubopt._util.escaping import printable
from hubopt._util.short_repr import short_repr
from hubopt._util.structure import Structure, leaves

Origin = Literal["flag", "layer", "signature", "trace", "xla", "sample", "run", "default"]
"""Where a fact came from, strongest first.

``flag``: given for this run; ``layer``: a hint given to the `KerasLayer`;
``signature``: declared by the SavedModel or the callable; ``trace``: computed by
TensorFlow's shape inference; ``xla``: computed by XLA; ``sample``: the user's own data, and the
layer's outputs for it; ``run``: every call on drawn samples gave it, or, for a dynamic dimension of
an output, nothing shows that it has one size;
``default``: the documented default (batch 1).
"""

MaybeShape = tuple[int | str | None, ...]
"""A shape with ``None`` for an unknown dimension and a name for a dynamic one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The sizes that a dynamic dimension may have.

    Attributes:
        min: The smallest size.
        opt: The size that is optimized for and timed.
        max: The largest size.
    """

    min: int
    opt: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}:{self.opt}:{self.max}"


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The closed range of the values that an input takes, and how that is known.

    Attributes:
        low: The smallest value.
        high: The largest value.
        why: The evidence, such as a lookup in a table and the number of rows of the table.
        strict: Whether values outside are known to have no meaning for the model; if not, they
            are merely unusual.
    """

    low: float
    high: float
    why: str
    strict: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}: {self.why}"


@dataclass(frozen=True, slots=True)
class Dim:
    """One dimension and where it came from.

    Attributes:
        size: Its size; the usual one if it is dynamic.
        origin: Where it came from.
        name: The name of a dynamic dimension; None for a static one. An output's dimension has
            the name of an input's dimension if it always has that size; otherwise it has a name
            of its own, and its size may depend on the data.
    """

    size: int
    origin: Origin
    name: str | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

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
        """The shape, with the usual size of each dynamic dimension."""
        return tuple(dim.size for dim in self.dims)

    @property
    def open_shape(self) -> tuple[int | None, ...]:
        """The shape as TensorFlow and ONNX write it, with None for dynamic dimensions."""
        return tuple(None if dim.name else dim.size for dim in self.dims)

    @property
    def named_shape(self) -> tuple[int | str, ...]:
        """The shape with the names of dynamic dimensions."""
        return tuple(dim.name or dim.size for dim in self.dims)

    @property
    def is_static(self) -> bool:
        """Whether no dimension is dynamic."""
        return not any(dim.name for dim in self.dims)

    def shape_at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with the dynamic dimensions set to ``sizes``, by name."""
        return tuple(sizes.get(dim.name or "", dim.size) for dim in self.dims)

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of ``shape`` fits; dynamic dimensions fit any size."""
        return len(shape) == len(self.dims) and all(
            dim.name or dim.size == size for dim, size in zip(self.dims, shape, strict=True)
        )

    @property
    def argument(self) -> str:
        """The name in a form that a TensorFlow signature allows; nearly every name is unchanged."""
        safe = re.sub(r"[^A-Za-z0-9.\\/>_-]", "_", self.name)
        return safe if re.match(r"[A-Za-z0-9.]", safe) else f"x{safe}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's data; strings count one byte per element."""
        return self.size_bytes_at({})

    def size_bytes_at(self, sizes: Mapping[str, int]) -> int:
        """Return the bytes with the dynamic dimensions set to ``sizes``."""
        return math.prod(self.shape_at(sizes)) * _ITEM_BYTES.get(self.dtype, 4)

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.dtype} {format_shape(self.named_shape)}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Every input and output of a model, and the nests in which the layer packs them.

    Attributes:
        inputs: The inputs, in the order of ``input_structure``'s leaves.
        outputs: The outputs, in the order of ``output_structure``'s leaves.
        input_structure: The nest of input names that the layer is called with.
        output_structure: The nest of output names that the layer returns.
        bounds: The bounds of each dynamic dimension of the inputs, by name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_structure: Structure
    output_structure: Structure
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for specs, structure in (
            (self.inputs, self.input_structure),
            (self.outputs, self.output_structure),
        ):
            names = [spec.name for spec in specs]
            if names != leaves(structure) or len(set(names)) != len(names):
                raise ValueError(f"names {names} do not match the structure {structure}")
        dynamic = {dim.name for spec in self.inputs for dim in spec.dims if dim.name}
        if dynamic != set(self.bounds):
            raise ValueError(f"dimensions {dynamic} do not match the bounds {self.bounds}")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return tuple(spec.name for spec in self.outputs)

    @property
    def data_dependent(self) -> tuple[str, ...]:
        """The names of the outputs with a size that the inputs' shapes do not determine."""
        return tuple(
            spec.name
            for spec in self.outputs
            if any(
                dim.name and dim.name not in self.bounds and dim.origin in ("run", "flag")
                for dim in spec.dims
            )
        )

    @property
    def is_static(self) -> bool:
        """Whether no dimension of any input or output is dynamic."""
        return all(spec.is_static for spec in (*self.inputs, *self.outputs))

    def __str__(self) -> str:
        return "\n".join(
            [
                *(f"in  {spec}" for spec in self.inputs),
                *(f"out {spec}" for spec in self.outputs),
                *(f"dim {name}: {bounds}" for name, bounds in self.bounds.items()),
            ]
        )


def format_shape(shape: Iterable[int | str | None]) -> str:
    """Return a shape in the notation that `hubopt.hints.parse_shape` reads."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return "x".join(sizes) if sizes else "scalar"


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
