"""The inputs and outputs that a file declares by itself, without the layer it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileTensor:
    """One input or output of a file.

    Attributes:
        name: The file's own name for the tensor.
        dtype: TensorFlow's name of the dtype, such as ``float32`` or ``string``.
        shape: None for each size that is open; None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {self.dtype} of unknown rank"
        sizes = ["?" if size is None else str(size) for size in self.shape]
        return f"{self.name}: {self.dtype} {'x'.join(sizes) or 'scalar'}"


@dataclass(frozen=True, slots=True)
class FileInterface:
    """The inputs and outputs of a file, in its own order.

    An exporter returns it from an optional method ``interface(path)``. With that method, files
    from elsewhere can be run and compared although their tensors have other names than the
    layer's.
    """

    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]
