"""Real calls of a layer: the shapes that its outputs have on samples."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt._platform.causes import first_line
from hubopt._util.structure import Structure, pack, unpack
from hubopt.layers.interface import Interface
from hubopt.programs.shaping.outputs import call_as_is
from hubopt.sampling.samples import draw
from hubopt.spec import Bounds, TensorSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """The shapes of one real call.

    Attributes:
        sizes: The sizes of the inputs' dynamic dimensions.
        shapes: The outputs' shapes by name.
    """

    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls on several samples.

    Attributes:
        made: The calls that the layer answered.
        on_data: Whether they were made on the user's own data.
        refused: Why the layer refused a sample that is no edge case; None if it refused none.
    """

    made: tuple[Call, ...] = ()
    on_data: bool = False
    refused: str | None = None

    @property
    def are_enough(self) -> bool:
        """Whether agreement among them means something: the user's data, or two samples."""
        return len(self.made) > 1 or (self.on_data and bool(self.made))

    def agreed(self, name: str, at: int) -> int | str | None:
        """Return the size that an output's dimension has in every call; None if it has none.

        A dimension that follows a dynamic dimension of the inputs has that one's name. A size
        of 0 says nothing: a detector that finds nothing in noise does find something elsewhere.
        """
        seen = [
            (call.sizes, call.shapes[name][at]) for call in self.made if at < len(call.shapes[name])
        ]
        if not self.are_enough or len(seen) < len(self.made):
            return None
        return agreed_size(seen) or None

    def rank(self, name: str) -> int | None:
        """Return the number of dimensions that an output has in every call."""
        ranks = {len(call.shapes[name]) for call in self.made}
        return ranks.pop() if len(ranks) == 1 else None


def agreed_size(seen: Sequence[tuple[Mapping[str, int], int]]) -> int | str | None:
    """Return the dynamic dimension that a size follows, or the only size that it has.

    Args:
        seen: Pairs of the sizes of the dynamic dimensions and the size itself.
    """
    for name in seen[0][0]:
        if all(sizes[name] == size for sizes, size in seen):
            return name
    sizes = {size for _, size in seen}
    return sizes.pop() if len(sizes) == 1 else None


def call_layer(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    structure: Structure,
    bounds: Mapping[str, Bounds],
    data: Any = None,
) -> Calls:
    """Call the layer on ``data``, or on drawn samples and their edge cases.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: Its settled inputs.
        structure: The structure of its outputs.
        bounds: The bounds of the dynamic dimensions.
        data: One sample of the user's own, packed as the layer takes it, or None.
    """
    import tensorflow as tf

    made: list[Call] = []
    refused: str | None = None
    for sample, is_edge in _samples(interface, inputs, bounds, data):
        tensors = {spec.name: tf.constant(sample[spec.name], spec.dtype) for spec in inputs}
        try:
            outputs = call_as_is(layer, pack(interface.structure, tensors))
        except tf.errors.OpError as error:  # such as an index outside its table
            _log.info("the layer refuses a sample: %s", first_line(error))
            refused = refused if is_edge else refused or first_line(error)
            continue
        sizes = {
            dim.name: int(size)
            for spec in inputs
            for dim, size in zip(spec.dims, tensors[spec.name].shape, strict=True)
            if dim.name
        }
        named = unpack(structure, outputs)
        made.append(Call(sizes, {name: tuple(output.shape) for name, output in named.items()}))
    return Calls(tuple(made), data is not None, refused)


def _samples(
    interface: Interface, inputs: Sequence[TensorSpec], bounds: Mapping[str, Bounds], data: Any
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield each sample by input name, and whether it is an edge case."""
    if data is not None:
        yield unpack(interface.structure, data), False
        return
    for sample in draw(inputs, bounds=bounds):
        yield sample.tensors, sample.edge
