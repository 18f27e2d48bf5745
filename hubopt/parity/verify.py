"""The verdict on an artifact: what it gives against what the eager layer gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.metrics import Difference, compare
from hubopt.parity.tolerance import Tolerance
from hubopt.samples import numpy_dtype
from hubopt.spec import ModelSpec, TensorSpec, format_shape

MOST_NOISE = 1e-2
"""Of an output's rms: what the layer itself may move and still be a reference."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output over all samples.

    Attributes:
        name: The output.
        differences: One for each sample.
    """

    name: str
    differences: tuple[Difference, ...]

    @property
    def max_abs(self) -> float:
        """The largest absolute difference over all samples."""
        return max((each.max_abs for each in self.differences), default=0.0)

    @property
    def worst(self) -> float:
        """The largest share of the tolerance that was used; passes up to 1."""
        return max((each.worst for each in self.differences), default=0.0)


@dataclass(frozen=True, slots=True)
class Parity:
    """The verdict on one artifact.

    Attributes:
        passed: Whether every output of every sample is within the tolerance.
        problems: Why not, one sentence each; empty if it passed.
        outputs: The metrics by output.
        tolerance: What they were held to.
        samples: How many samples were compared.
        noise: How far the layer itself moves, by output: it was added to the tolerance.
    """

    passed: bool
    problems: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    tolerance: Tolerance
    samples: int
    noise: Mapping[str, float] = field(default_factory=dict)

    @property
    def note(self) -> str | None:
        """What took the layer's own noise to pass; None if nothing did."""
        if not self.noise:
            return None
        moves = ", ".join(f"{name} by {move:.1e}" for name, move in self.noise.items())
        return f"within the layer's own noise: with oneDNN switched, it moves {moves}"


def judge(
    spec: ModelSpec,
    actual: Sequence[Tensors],
    reference: Sequence[Tensors],
    tolerance: Tolerance,
    noise: Mapping[str, float] | None = None,
) -> Parity:
    """Compare what an artifact gave with what the layer gave, sample by sample.

    Names come first, then shapes and dtypes, then NaN and infinities, then values.

    Args:
        spec: The model's outputs.
        actual: The artifact's outputs for each sample.
        reference: The eager layer's outputs for the same samples.
        tolerance: The bound for each element.
        noise: How far the layer itself moves, by output. It is added to the bound, if it is
            below `MOST_NOISE` of the output's rms: a layer less steady cannot be judged.
    """
    problems: list[str] = []
    noise = dict(noise or {})
    if not reference or len(actual) != len(reference):
        problems.append(f"{len(actual)} samples were run, {len(reference)} have a reference")
    for at, given in enumerate(actual):
        expected = reference[at] if at < len(reference) else {}
        problems += _form_problems(spec, given, expected, at)
    if problems:
        return Parity(False, tuple(problems), (), tolerance, len(reference))
    outputs = tuple(
        OutputParity(
            each.name,
            tuple(
                compare(
                    np.asarray(a[each.name]),
                    np.asarray(r[each.name]),
                    tolerance,
                    _usable(noise.get(each.name, 0.0), np.asarray(r[each.name])),
                )
                for a, r in zip(actual, reference, strict=True)
            ),
        )
        for each in spec.outputs
    )
    problems = [
        f"output {output.name}, sample {at}: {_describe(difference)}"
        for output in outputs
        for at, difference in enumerate(output.differences)
        if difference.problem or difference.mismatches or not difference.elements
    ]
    return Parity(not problems, tuple(problems), outputs, tolerance, len(reference), noise)


def _usable(noise: float, reference: NDArray[Any]) -> float:
    if not noise or reference.dtype.kind not in "fc":
        return 0.0
    finite = reference[np.isfinite(reference)].astype(np.complex128)
    rms = float(np.sqrt(np.mean(np.abs(finite) ** 2))) if finite.size else 0.0
    return noise if noise <= MOST_NOISE * rms else 0.0


def _form_problems(spec: ModelSpec, outputs: Tensors, reference: Tensors, at: int) -> list[str]:
    names = [each.name for each in spec.outputs]
    if set(outputs) != set(names):
        return [f"sample {at}: outputs are {sorted(outputs)}, the layer's are {sorted(names)}"]
    return [
        f"sample {at}: output {each.name} is {found}, the layer's is {wanted}"
        for each in spec.outputs
        if (found := _form(np.asarray(outputs[each.name])))
        != (wanted := _spec_form(each, reference.get(each.name)))
    ]


def _form(array: NDArray[Any]) -> str:
    dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
    return f"{dtype} {format_shape(array.shape)}"


def _spec_form(spec: TensorSpec, reference: Any) -> str:
    """Write what the spec asks for; dynamic dimensions are as the layer gave them."""
    dtype = "string" if spec.dtype == "string" else numpy_dtype(spec.dtype).name
    given = None if reference is None else np.shape(reference)
    shape = given if given is not None and spec.admits(given) else spec.shape
    return f"{dtype} {format_shape(shape)}"


def _describe(difference: Difference) -> str:
    if difference.problem:
        return difference.problem
    if not difference.elements:
        return "it has no elements, so nothing was compared"
    return (
        f"{difference.mismatches} of {difference.elements} elements differ by more than allowed, "
        f"the worst at {difference.worst_index} by {difference.worst:.3g} times the bound "
        f"(largest difference {difference.max_abs:.3g}, rms of the output {difference.rms:.3g})"
    )
