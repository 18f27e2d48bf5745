"""Checks of a manifest's measurements: parity, latency and the quality of the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hubopt.latency.statistics import Latency, Timing
from hubopt.parity import Comparison, OutputParity, Parity, ReferenceQuality
from hubopt.parity.deviations import FLOAT64, VARIANTS
from hubopt.parity.metrics import Difference
from hubopt.parity.outcome import TIE
from hubopt.parity.ties import DRAWS
from hubopt.spec import ModelSpec, TensorSpec, format_shape


def parity_problems(parity: Parity, spec: ModelSpec, samples: int) -> Iterator[str]:
    """Yield what is invalid in a comparison, given the spec and the number of samples."""
    outputs = spec.outputs
    if parity.samples != samples:
        yield f"it was compared on {parity.samples} samples, the bundle has {samples}"
    names = [output.name for output in parity.outputs]
    if not names and not parity.passed:
        return  # the names or shapes differed, so that nothing was compared
    if names != [tensor.name for tensor in outputs]:
        yield f"it was compared in {names}, the outputs are {list(spec.output_names)}"
        return
    if parity.passed != (not any(output.problems for output in parity.outputs)):
        yield "its comparison does not agree with itself"
    for tensor, output in zip(outputs, parity.outputs, strict=True):
        yield from (
            f"output {tensor.name!r}: {text}" for text in _output_problems(output, tensor, samples)
        )


def _output_problems(output: OutputParity, spec: TensorSpec, samples: int) -> Iterator[str]:
    counts = {
        "differences": len(output.differences),
        "bases": len(output.bases),
        "from_float64": len(output.from_float64) or samples,
        "beside_ties": len(output.beside_ties) or samples,
    }
    for name, count in counts.items():
        if count != samples:
            yield f"{name}: {count}, not {samples}"
    if output.from_float64 and len(output.deviations.get(FLOAT64, ())) != samples:
        yield "it was compared with float64, but has no deviations of float64 for every sample"
    tied = [difference for difference in output.beside_ties if difference is not None]
    if any(basis == TIE and output.tie(at) is None for at, basis in enumerate(output.bases)):
        yield "it passed by a tie on a sample that has none"
    for difference in (*output.differences, *output.from_float64, *tied):
        yield from _difference_problems(difference, spec)


def _difference_problems(difference: Difference, spec: TensorSpec) -> Iterator[str]:
    if not spec.admits(difference.shape):
        yield f"shape {format_shape(difference.shape)}, not {format_shape(spec.named_shape)}"
        return
    counts = (difference.unequal, difference.rows, difference.top1, difference.topk)
    if not all(0 <= count <= max(difference.elements, 0) for count in counts):
        yield "it counts more elements than the output has, or less than 0"
    sizes = (difference.max_abs, difference.rms, difference.rms_error, difference.largest)
    if any(math.isnan(size) or size < 0 for size in sizes):
        yield "it has a size that is NaN or negative"
    if any(not 0 <= index < difference.elements for _, _, index in difference.front):
        yield "it names an element that the output does not have"
    # The verdict uses `front` alone, so the largest difference must be in it.
    if not difference.exact and _largest_gap(difference) != difference.max_abs:
        yield f"its largest difference is {difference.max_abs:g}, and no element has it"
    if difference.exact and bool(difference.unequal) != bool(difference.front):
        yield f"{difference.unequal} elements differ, but the elements it names contradict that"


def _largest_gap(difference: Difference) -> float:
    return max((gap for _, gap, _ in difference.front), default=0.0)


def comparison_problems(comparison: Comparison, spec: ModelSpec) -> Iterator[str]:
    """Give what a comparison of these outputs cannot say."""
    names, samples = set(spec.output_names), len(comparison.samples)
    if comparison.problems or not samples or len(set(comparison.samples)) != samples:
        yield "it has no samples, or one twice, or nothing was measured"
    wide = comparison.from_float64
    if set(comparison.differences) != names or (wide and set(wide) != names):
        yield f"it compares {sorted(comparison.differences)}, the outputs are {sorted(names)}"
        return
    tied = comparison.beside_ties
    if tied and set(tied) != names:
        yield f"it has ties of {sorted(tied)}, the outputs are {sorted(names)}"
        return
    for tensor in spec.outputs:
        for measured in (comparison.differences, wide, tied):
            differences = measured.get(tensor.name, ()) if measured else (None,) * samples
            if len(differences) != samples:
                yield f"output {tensor.name!r}: {len(differences)} samples, not {samples}"
            for difference in filter(None, differences):
                yield from _difference_problems(difference, tensor)


def latency_problems(latency: Latency) -> Iterator[str]:
    """Yield what is invalid in a measurement of latency."""
    yield from _timing_problems("artifact", latency.artifact)
    if latency.layer is None:
        return
    yield from _timing_problems("layer", latency.layer)
    rounds = len(latency.artifact.rounds_ms), len(latency.layer.rounds_ms)
    if rounds[0] != rounds[1]:
        yield f"latency: {rounds[0]} rounds of the artifact and {rounds[1]} of the layer"


def _timing_problems(what: str, timing: Timing) -> Iterator[str]:
    if not timing.rounds_ms or not all(timing.rounds_ms):
        yield f"latency: the {what} has no rounds, or a round without calls"
    calls = [call for calls in timing.rounds_ms for call in calls]
    if not all(0 < call < math.inf for call in calls):
        yield f"latency: the time of a call of the {what} is not positive and finite"


def reference_problems(quality: ReferenceQuality, spec: ModelSpec, samples: int) -> Iterator[str]:
    """Yield what is invalid in the reference's quality, given the spec and number of samples."""
    names = set(spec.output_names)
    named = {*quality.constant, *quality.weightless, *quality.ties}
    named |= {name for by_output in quality.probes.values() for name in by_output}
    named |= {name for by_output in quality.deviations.values() for name in by_output}
    if named - names:
        yield f"reference: it names {sorted(named - names)}, which are no outputs"
    yield from _tie_problems(quality, samples)
    strange = set(quality.culprits) - set(VARIANTS)
    if strange:
        yield f"reference: it names operations of {sorted(strange)}, which are no variants"
    if not 0 <= quality.inactive <= quality.units or not 0 <= quality.undetected <= quality.weights:
        yield "reference: it counts more units or weights than there are"
    for variant, by_output in quality.deviations.items():
        for name, deviations in by_output.items():
            if not 1 <= len(deviations) <= samples:
                yield (
                    f"reference: it has {variant} deviations of {name!r} on {len(deviations)} of "
                    f"{samples} samples"
                )
            if any(
                math.isnan(size) or size < 0
                for one in deviations
                for size in (one.largest, one.rms)
            ):
                yield f"reference: a {variant} deviation of {name!r} is NaN or negative"


def _tie_problems(quality: ReferenceQuality, samples: int) -> Iterator[str]:
    if quality.alternatives and len(quality.alternatives) != samples:
        yield f"reference: alternatives of {len(quality.alternatives)} of {samples} samples"
    if any(not 0 <= count <= DRAWS for count in quality.alternatives):
        yield f"reference: it has more than {DRAWS} alternatives, or less than 0"
    if any(not 0 <= at < samples for places in quality.ties.values() for at in places):
        yield "reference: it has ties on samples that do not exist"
