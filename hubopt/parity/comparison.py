"""How far an artifact is from the layer: measured once, judged under any tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hubopt.exporter import Tensors
from hubopt.parity.form import form_problems
from hubopt.parity.metrics import Difference, compare_any
from hubopt.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of an artifact from the layer, sample by sample.

    Attributes:
        samples: The numbers of the samples that were compared.
        differences: From the eager layer, by output; one for each sample.
        from_float64: From the layer computed in float64, likewise; empty if that is unknown.
        problems: Where names, dtypes or shapes differ. Nothing else is measured then.
    """

    samples: tuple[int, ...]
    differences: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    from_float64: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def of(self, samples: Sequence[int], with_float64: bool) -> Comparison | None:
        """Return the part that is about ``samples``; None if a part of that was not measured.

        Args:
            samples: The numbers of samples, in the wanted order.
            with_float64: Whether the differences from float64 are wanted as well.
        """
        if self.problems or not set(samples) <= set(self.samples):
            return None
        if with_float64 and not self.from_float64:
            return None
        places = [self.samples.index(number) for number in samples]
        return Comparison(
            tuple(samples),
            _at(self.differences, places),
            _at(self.from_float64, places) if with_float64 else {},
        )


def compare_outputs(
    spec: ModelSpec,
    actual: Sequence[Tensors],
    reference: Sequence[Tensors],
    float64: Sequence[Tensors] | None = None,
    samples: Sequence[int] | None = None,
) -> Comparison:
    """Measure how far an artifact's outputs are from the layer's.

    Args:
        spec: The model's outputs.
        actual: The artifact's outputs for each sample.
        reference: The eager layer's outputs for the same samples.
        float64: The layer's outputs computed in float64.
        samples: The numbers of the samples; from 0 by default.
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
    )


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
    differences: Mapping[str, tuple[Difference, ...]], places: Sequence[int]
) -> dict[str, tuple[Difference, ...]]:
    return {name: tuple(found[at] for at in places) for name, found in differences.items()}
