"""One fault in one artifact, and how sites for faults are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

KINDS = (
    "swapped outputs",
    "weight sign",
    "bias dropped",
    "transposed kernel",
    "wrong padding",
    "wrong epsilon",
    "wrong axis",
    "shuffled channel",
    "fp16 overflow",
    "NaN in one element",
    "off-by-one gather",
    "resize half-pixel",
    "lower precision",
)

PADDINGS, SLICES, AXES, TRANSPOSES, OVERFLOWS, NANS, HALVES = 14, 8, 6, 8, 10, 6, 8
"""The largest number of such faults in one artifact."""
SMALL = 1e-2
"""A positive constant up to this, as an operand of an addition or a maximum, is an epsilon."""

Samples = Sequence[dict[str, NDArray[Any]]]
"""Arrays by input name, as in a bundle's reference set."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the edit that creates it.

    Attributes:
        kind: One of `KINDS`.
        site: A description of its place.
        layer: The first wrong tensor: the output of an ONNX node or of a TFLite operator.
            None for a fault that is in no single layer.
        apply: Changes an opened model in place: an ONNX ``ModelProto``, or TFLite's ``ModelT``.
        note: A measurement at the place of the fault, such as the weight's share of the
            kernel's largest weight; empty if there is none.
    """

    kind: str
    site: str
    layer: str | None
    apply: Callable[[Any], None]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mutant:
    """An artifact with one fault, not written yet.

    Attributes:
        target: ``onnx`` or ``tflite``.
        source: The clean artifact.
        fault: The fault of this mutant.
    """

    target: str
    source: Path
    fault: Fault

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.fault.kind

    @property
    def site(self) -> str:
        """A description of the place of the fault."""
        return self.fault.site

    @property
    def layer(self) -> str | None:
        """The first wrong tensor; None if the fault is in no single layer."""
        return self.fault.layer

    @property
    def apply(self) -> Callable[[Any], None]:
        """Injects the fault into an opened model, in place."""
        return self.fault.apply

    @property
    def note(self) -> str:
        """A measurement at the place of the fault; empty if there is none."""
        return self.fault.note


def distinct(target: str, source: Path, faults: Iterable[Fault]) -> Iterator[Mutant]:
    """Yield a mutant for each fault of a clean artifact, without duplicates."""
    seen = set()
    for fault in faults:
        place = (fault.kind, fault.site, fault.layer)
        if place not in seen:
            seen.add(place)
            yield Mutant(target, source, fault)


def spread(
    items: Sequence[Item], count: int, generator: np.random.Generator, repeat: bool = False
) -> Iterator[Item]:
    """Yield ``count`` of ``items`` in order: a random one of each of ``count`` equal parts.

    Args:
        items: The items in the order of the graph.
        count: How many; without ``repeat``, at most all items.
        generator: The random number generator.
        repeat: Whether an item may be chosen more than once.
    """
    if not repeat:
        count = min(count, len(items))
    for part in range(count if items else 0):
        first = part * len(items) // count
        last = max(first + 1, (part + 1) * len(items) // count)
        yield items[int(generator.integers(first, last))]
