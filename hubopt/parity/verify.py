"""The verdict on an artifact: its outputs are compared with those of the eager layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hubopt._util.escaping import printable
from hubopt.exporter import Tensors
from hubopt.parity.comparison import Comparison, compare_outputs
from hubopt.parity.deviations import (
    FLOAT64,
    STILL,
    XLA,
    Deviation,
    deviation_at,
    xla_errors,
)
from hubopt.parity.judging import (
    complaint,
    complaints_of_all,
    leaves_stated,
    usual_rounding,
)
from hubopt.parity.outcome import TIE, Basis, OutputParity, Parity
from hubopt.parity.reference import ReferenceQuality
from hubopt.parity.tolerance import Tolerance
from hubopt.parity.vacuity import constant_outputs, unseen_outputs, vacuous_outputs
from hubopt.spec import ModelSpec


def judge(
    spec: ModelSpec,
    actual: Sequence[Tensors],
    reference: Sequence[Tensors],
    tolerance: Tolerance | Mapping[str, Tolerance],
    quality: ReferenceQuality | None = None,
    float64: Sequence[Tensors] | None = None,
) -> Parity:
    """Compare the outputs of an artifact with those of the layer, sample by sample.

    Names are compared first, then shapes and dtypes, then NaN and infinities, then values.

    Args:
        spec: The spec of the model.
        actual: The artifact's outputs for each sample.
        reference: The eager layer's outputs for the same samples.
        tolerance: One tolerance for all outputs, or one for each output, by name.
        quality: The measured quality of the reference.
        float64: The layer's outputs computed in float64.
    """
    comparison = compare_outputs(spec, actual, reference, float64)
    names = spec.output_names
    tolerances = dict.fromkeys(names, tolerance) if isinstance(tolerance, Tolerance) else tolerance
    return judge_comparison(comparison, tolerances, quality or ReferenceQuality())


def judge_comparison(
    comparison: Comparison, tolerances: Mapping[str, Tolerance], quality: ReferenceQuality
) -> Parity:
    """Judge differences that were measured before, without the arrays.

    Args:
        comparison: How far the artifact is from the layer.
        tolerances: One for each output, by name.
        quality: The measured quality of the reference, on the same samples.
    """
    samples = len(comparison.samples)
    if comparison.problems:
        return Parity(False, comparison.problems, (), samples)
    outputs = tuple(
        OutputParity(
            name,
            differences,
            comparison.from_float64.get(name, ()),
            {
                variant: found[name]
                for variant, found in quality.deviations.items()
                if name in found
            },
            beside_ties=comparison.beside_ties.get(name, ()),
        )
        for name, differences in comparison.differences.items()
    )
    return judge_outputs(outputs, tolerances, quality, samples)


def judge_outputs(
    outputs: Sequence[OutputParity],
    tolerances: Mapping[str, Tolerance],
    quality: ReferenceQuality,
    samples: int,
) -> Parity:
    """Judge measured outputs. This needs no arrays, so it can be repeated at any time."""
    differences = {out.name: out.differences for out in outputs}
    vacuous = vacuous_outputs(quality, tolerances) | unseen_outputs(differences, quality)
    constant = constant_outputs(quality)
    judged = tuple(
        replace(
            _judge_output(out, tolerances[out.name]),
            vacuous=vacuous.get(out.name),
            constant=out.name in constant,
        )
        for out in outputs
    )
    failing = [out for out in judged if out.problems]
    return Parity(
        passed=not failing,
        problems=tuple(
            f"output {printable(out.name)}, {text}" for out in failing for text in out.problems
        ),
        outputs=judged,
        samples=samples,
        unsteady=bool(failing) and all(out.unsteady for out in failing),
        vacuous=tuple(
            f"output {printable(out.name)}: {out.vacuous}" for out in judged if out.vacuous
        ),
        note=_note(judged),
        cause=_cause(failing, quality),
    )


def _judge_output(output: OutputParity, tolerance: Tolerance) -> OutputParity:
    verdicts = [_judge_sample(output, at, tolerance) for at in range(len(output.differences))]
    of_all = complaints_of_all(output.differences, tolerance)
    failing = {at: verdict for at, verdict in enumerate(verdicts) if verdict.problem}
    return replace(
        output,
        tolerance=tolerance,
        bases=tuple(verdict.basis for verdict in verdicts),
        problems=(*(f"sample {at}: {verdict.problem}" for at, verdict in failing.items()), *of_all),
        unsteady=bool(failing)
        and not of_all
        and all(verdict.unsteady for verdict in failing.values()),
    )


class _SampleVerdict(NamedTuple):
    basis: Basis | None
    problem: str | None = None
    unsteady: bool = False


def _judge_sample(output: OutputParity, at: int, tolerance: Tolerance) -> _SampleVerdict:
    """Compare with the layer, its other orders, the layer in float64, then with noise allowed.

    A bound that the user stated binds in every order of the layer's own.
    """
    difference, rounding = output.differences[at], usual_rounding(output.differences, tolerance)
    problem = complaint(difference, tolerance, STILL, rounding)
    if problem is None:
        return _SampleVerdict("layer")
    most = output.most_noise(at)
    noise = deviation_at(output.deviations, at)
    tie = None if tolerance.strict else output.tie(at)
    if tie is not None and complaint(tie, tolerance, STILL, rounding) is None:
        return _SampleVerdict(TIE)
    if tolerance.strict or (tolerance.stated and leaves_stated(difference, tolerance)):
        return _SampleVerdict(None, problem + _format_noise(noise))
    if (
        output.from_float64
        and output.deviations[FLOAT64][at].largest <= most
        and complaint(output.from_float64[at], tolerance, STILL, rounding) is None
    ):
        return _SampleVerdict("float64")
    if noise == STILL or complaint(difference, tolerance, noise, rounding):
        return _SampleVerdict(None, problem)
    if noise.largest <= most:
        return _SampleVerdict("noise")
    return _SampleVerdict(None, problem, unsteady=True)


def _format_noise(noise: Deviation) -> str:
    if noise == STILL:
        return ""
    return f"; the layer's own noise there is {noise.largest:.1e}, which the bound does not allow"


def _cause(failing: Sequence[OutputParity], quality: ReferenceQuality) -> str | None:
    """Say that XLA computes something else, if that explains the failing samples of an output."""
    for output in failing:
        errors = xla_errors(output.deviations)
        wrong = [at for at, basis in enumerate(output.bases) if basis is None and at in errors]
        if not wrong:
            continue
        largest = max(errors[at].largest for at in wrong)
        rest = {name: found for name, found in output.deviations.items() if name != XLA}
        others = max(deviation_at(rest, at).largest for at in wrong)
        culprit = quality.culprits.get(XLA)
        return (
            f"XLA's own result is off there: {printable(output.name)} by {largest:.1e} from the "
            f"eager layer, with which {_names(rest)} to {others:.1e}"
            + (f"; XLA goes wrong in {printable(culprit)}" if culprit else "")
            + "; --xla off writes the SavedModel uncompiled"
        )
    return None


def _names(deviations: Mapping[str, Sequence[Deviation]]) -> str:
    """Name the variants that agree with the eager layer, with the verb."""
    names = {"onednn": "oneDNN's kernels", FLOAT64: "its graph in float64"}
    found = [name for variant, name in names.items() if variant in deviations]
    if not found:
        return "a second call agrees"
    return " and ".join(found) + (" agree" if len(found) > 1 else " agrees")


def _note(outputs: Sequence[OutputParity]) -> str | None:
    """Name constant outputs, and what passed only against float64 or within the layer's noise."""
    closer = [printable(output.name) for output in outputs if "float64" in output.bases]
    excused = [output.deviation_summary for output in outputs if "noise" in output.bases]
    tied = [
        f"{printable(output.name)} (sample {', '.join(map(str, numbers))})"
        for output in outputs
        if (numbers := [at for at, basis in enumerate(output.bases) if basis == TIE])
    ]
    constant = [printable(output.name) for output in outputs if output.constant]
    notes = []
    if constant:
        notes.append(f"constant, the same for every input: {', '.join(constant)}")
    if closer:
        notes.append(f"nearer to the layer in float64 than the eager layer is: {', '.join(closer)}")
    if tied:
        notes.append(f"in another order where the layer's own order is a tie: {', '.join(tied)}")
    if excused:
        notes.append(f"within the layer's own noise: {', '.join(excused)}")
    return "; ".join(notes) or None
