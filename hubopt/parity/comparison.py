"""How far an artifact is from the layer: measured once, judged under any tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hubopt.exporter import Tensors
from hubopt.parity.form import form_problems
from hubopt.parity.metrics import Difference, compare_any
from hubopt.parity.ties import Ties, nearest
from hubopt.spec import ModelSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of an artifact from the layer, sample by sample.

    Attributes:
        samples: The numbers of the samples that were compared.
        differences: From the eager layer, by output; one for each sample.
        from_float64: From the layer computed in float64, likewise; empty if that is unknown.
        problems: Where names, dtypes or shapes differ. Nothing else is measured then.
        beside_ties: From the nearest of the layer's own answers, likewise, where the layer's order
            is a tie, see `hubopt.parity.ties`; None on samples where it is not. Empty if no ties
            are known.
    """

    samples: tuple[int, ...]
    differences: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    from_float64: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    beside_ties: Mapping[str, tuple[Difference | None, ...]] = field(default_factory=dict)

    def of(
        self, samples: Sequence[int], with_float64: bool, with_ties: bool = False
    ) -> Comparison | None:
        """Return the part that is about ``samples``; None if a part of that was not measured.

        Args:
            samples: The numbers of samples, in the wanted order.
            with_float64: Whether the differences from float64 are wanted as well.
            with_ties: Whether those beside ties are.
        """
        if self.problems or not set(samples) <= set(self.samples):
            return None
        if (with_float64 and not self.from_float64) or (with_ties and not self.beside_ties):
            return None
        places = [self.samples.index(number) for number in samples]
        return Comparison(
            tuple(samples),
            _at(self.differences, places),
            _at(self.from_float64, places) if with_float64 else {},
            beside_ties=_at(self.beside_ties, places) if with_ties else {},
        )


def compare_outputs(
    spec: ModelSpec,
    actual: Sequence[Tensors],
    reference: Sequence[Tensors],
    float64: Sequence[Tensors] | None = None,
    samples: Sequence[int] | None = None,
    ties: Sequence[Ties] = (),
) -> Comparison:
    """Measure how far an artifact's outputs are from the layer's.

    Args:
        spec: The model's outputs.
        actual: The artifact's outputs for each sample.
        reference: The eager layer's outputs for the same samples.
        float64: The layer's outputs computed in float64.
        samples: The numbers of the samples; from 0 by default.
        ties: What is known of the ties of each sample; empty if that is nothing.
    """
    numbers = tuple(range(len(reference)) if samples is None else samples)
    problems: list[str] = []
    if not reference or len(actual) != len(reference):
        problems.append(f"{len(actual)} samples were run, {len(reference)} have a reference")
    for at, given in enumerate(actual):
        expected = reference[at] if at < len(reference) else {}
        problems += form_problems(spec, given, expected, at)
    if problems:
        return Comparison(numbers, problems=tuple(problems))
    return Comparison(
        numbers,
        _differences(spec, actual, reference),
        _differences(spec, actual, float64) if float64 else {},
        beside_ties=_beside_ties(spec, actual, reference, ties) if ties else {},
    )


def _beside_ties(
    spec: ModelSpec,
    actual: Sequence[Tensors],
    reference: Sequence[Tensors],
    ties: Sequence[Ties],
) -> dict[str, tuple[Difference | None, ...]]:
    names = spec.output_names
    own = [
        nearest(given, expected, tied, names)
        for given, expected, tied in zip(actual, reference, ties, strict=True)
    ]
    return {
        name: tuple(
            compare_any(np.asarray(given[name]), answer[name], name) if name in answer else None
            for given, answer in zip(actual, own, strict=True)
        )
        for name in names
    }


def _differences(
    spec: ModelSpec, actual: Sequence[Tensors], reference: Sequence[Tensors]
) -> dict[str, tuple[Difference, ...]]:
    return {
        name: tuple(
            compare_any(np.asarray(given[name]), np.asarray(expected[name]), name)
            for given, expected in zip(actual, reference, strict=True)
        )
        for name in spec.output_names
    }


def _at(
    differences: Mapping[str, tuple[T, ...]], places: Sequence[int]
) -> dict[str, tuple[T, ...]]:
    return {name: tuple(found[at] for at in places) for name, found in differences.items()}
