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
"""How many are planted in one artifact, at most."""
SMALL = 1e-2
"""A positive constant up to this, added or taken the maximum with, is an epsilon."""

Samples = Sequence[dict[str, NDArray[Any]]]
"""Arrays by input name, as a bundle's reference set holds them."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and the edit that makes it so.

    Attributes:
        kind: One of `KINDS`.
        site: Where, in words.
        layer: The tensor that is wrong first: an ONNX node's output, or a TFLite operator's.
            None for a fault that is in no single layer.
        apply: Changes an opened model in place: an ONNX ``ModelProto``, or TFLite's ``ModelT``.
        note: What was measured where the fault stands, such as the weight's share of the
            kernel's largest; empty if nothing was.
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
        fault: What is wrong with this one.
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
        """Where the fault is, in words."""
        return self.fault.site

    @property
    def layer(self) -> str | None:
        """The tensor that is wrong first; None if the fault is in no single layer."""
        return self.fault.layer

    @property
    def apply(self) -> Callable[[Any], None]:
        """Plants the fault in an opened model, in place."""
        return self.fault.apply

    @property
    def note(self) -> str:
        """What was measured where the fault stands; empty if nothing was."""
        return self.fault.note


def distinct(target: str, source: Path, faults: Iterable[Fault]) -> Iterator[Mutant]:
    """Yield a mutant for each fault of a clean artifact, and none twice."""
    seen = set()
    for fault in faults:
        place = (fault.kind, fault.site, fault.layer)
        if place not in seen:
            seen.add(place)
            yield Mutant(target, source, fault)


def spread(
    items: Sequence[Item], count: int, generator: np.random.Generator, repeat: bool = False
) -> Iterator[Item]:
    """Yield ``count`` of ``items`` from first to last, one at random of each equal part.

    Args:
        items: In the order of the graph.
        count: How many; without ``repeat`` not more than there are.
        generator: Makes the choice.
        repeat: Whether an item may come more than once.
    """
    if not repeat:
        count = min(count, len(items))
    for part in range(count if items else 0):
        first = part * len(items) // count
        last = max(first + 1, (part + 1) * len(items) // count)
        yield items[int(generator.integers(first, last))]
