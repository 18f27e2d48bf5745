"""The verdict on an artifact: its outputs are compared with those of the eager layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from hubopt._util.escaping import printable
from hubopt.exporter import Tensors
from hubopt.parity.deviations import (
    FLOAT64,
    MOST_NOISE,
    STILL,
    Deviation,
    deviation_at,
    largest_deviation,
)
from hubopt.parity.form import form_problems
from hubopt.parity.judging import (
    NOISE_FACTOR,
    complaint,
    complaints_of_all,
    largest_share,
    leaves_stated,
    usual_rounding,
)
from hubopt.parity.metrics import Difference, compare
from hubopt.parity.reference import ReferenceQuality
from hubopt.parity.tolerance import Tolerance
from hubopt.parity.vacuity import vacuous_outputs
from hubopt.spec import ModelSpec

_CLEAR = 0.75
"""The share of the tolerance up to which a pass is clear. The margin covers another machine, whose
kernels may round differently. With other kernels of the same runtime, an artifact used up to a
quarter more of the tolerance, if the layer itself stays within the bounds
(`python -m benchmarks.other_kernels`)."""
_MARGIN = 100.0
"""The factor by which the deviation of float64 must stay below the limit of noise, if no other
variant was measured on the sample. The deviation of another variant may differ; on one sample of
basic-pitch it was ten times as large."""
_ROUNDED = "rounded1"
"""One of `VARIANTS`. If it was measured, the other variants with perturbed weights were, too."""
Basis = Literal["layer", "float64", "noise"]
"""The reference that a sample passed against: the eager layer; the layer computed in float64, if
the eager layer is the noisy side; the eager layer with its own noise allowed."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The metrics and the verdict of one output over all samples.

    Attributes:
        name: The name of the output.
        differences: The differences from the eager layer, one for each sample.
        from_float64: The differences from the layer computed in float64, one for each sample;
            empty if there are no outputs in float64.
        deviations: The layer's own noise in this output, by variant, for each sample.
        tolerance: The output's tolerance.
        bases: The reference that each sample passed against; None if it did not pass.
        problems: What did not pass, one sentence per problem; empty if everything passed.
        unsteady: Whether it fails only within the layer's own noise, and this noise is too large
            for the layer to be a reference.
        vacuous: Why passing proves nothing; None if it proves something.
    """

    name: str
    differences: tuple[Difference, ...]
    from_float64: tuple[Difference, ...] = ()
    deviations: Mapping[str, tuple[Deviation, ...]] = field(default_factory=dict)
    tolerance: Tolerance = field(default_factory=Tolerance)
    bases: tuple[Basis | None, ...] = ()
    problems: tuple[str, ...] = ()
    unsteady: bool = False
    vacuous: str | None = None

    @property
    def max_abs(self) -> float:
        """The largest absolute difference over all samples."""
        return max((difference.max_abs for difference in self.judged), default=0.0)

    @property
    def worst(self) -> float:
        """The largest share of the tolerance that was used; without noise, up to 1 is a pass."""
        return largest_share(self.judged, self.tolerance)

    @property
    def sqnr_db(self) -> float:
        """The smallest signal-to-noise ratio of a sample; infinite without error."""
        return min((difference.sqnr_db for difference in self.judged), default=math.inf)

    @property
    def judged(self) -> tuple[Difference, ...]:
        """The differences that decided, one for each sample."""
        return tuple(
            self.from_float64[at] if basis == FLOAT64 else self.differences[at]
            for at, basis in enumerate(self.bases)
        )

    @property
    def is_clear(self) -> bool:
        """Whether it passes by a margin.

        It does if every sample agrees with the eager layer and leaves a quarter of the tolerance
        unused. If the layer's float64 outputs are known, it also does if every sample agrees with
        the eager layer or with float64, or is excused by the layer's noise on that very sample,
        which is far below the limit.
        """
        if all(basis == "layer" for basis in self.bases) and self.worst <= _CLEAR:
            return True
        return bool(self.from_float64) and all(
            basis in ("layer", FLOAT64) or (basis == "noise" and self._is_excused_clearly(at))
            for at, basis in enumerate(self.bases)
        )

    def _is_excused_clearly(self, sample: int) -> bool:
        noise, limit = deviation_at(self.deviations, sample).largest, _most_noise(self, sample)
        # Even if another variant deviated by this factor more, the layer would be a reference.
        if len(self.deviations.get(_ROUNDED, ())) == len(self.differences):
            return NOISE_FACTOR * noise <= limit
        rounding = usual_rounding(self.differences, self.tolerance)
        known = self.deviations[FLOAT64][sample]  # other variants may not cover this sample
        excused = complaint(self.differences[sample], self.tolerance, known, rounding) is None
        return excused and _MARGIN * noise <= limit

    @property
    def deviation_summary(self) -> str:
        """The layer's largest deviation in this output, as text."""
        return f"{printable(self.name)} deviates {largest_deviation(self.deviations)}"


@dataclass(frozen=True, slots=True, repr=False)
class Parity:
    """The verdict on one artifact.

    Attributes:
        passed: Whether every output of every sample is within the tolerance.
        problems: Why it did not pass, one sentence per problem; empty if it passed.
        outputs: The metrics and the verdict of each output.
        samples: How many samples were compared.
        unsteady: Whether it fails only because the layer's own noise is as large as the
            differences.
        vacuous: Outputs on which passing proves nothing, one sentence per output.
        note: What had to be allowed in addition to the tolerance; None if nothing.
    """

    passed: bool
    problems: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    samples: int
    unsteady: bool = False
    vacuous: tuple[str, ...] = ()
    note: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether no further measurement of the layer's noise would change the verdict.

        This is so if every output passes by a margin, see `OutputParity.is_clear`, and none is
        vacuous; and if nothing can be compared, because names or shapes differ.
        """
        if not self.outputs:
            return True
        return self.passed and not self.vacuous and all(out.is_clear for out in self.outputs)

    @property
    def status(self) -> Literal["verified", "vacuous", "unverified", "failed"]:
        """The status of a target with this parity."""
        if self.passed:
            return "vacuous" if self.vacuous else "verified"
        return "unverified" if self.unsteady else "failed"

    def __repr__(self) -> str:
        from hubopt.parity.format import format_parity

        return format_parity(self)


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
    problems: list[str] = []
    if not reference or len(actual) != len(reference):
        problems.append(f"{len(actual)} samples were run, {len(reference)} have a reference")
    for at, given in enumerate(actual):
        expected = reference[at] if at < len(reference) else {}
        problems += form_problems(spec, given, expected, at)
    if problems:
        return Parity(False, tuple(problems), (), len(reference))
    names = [output.name for output in spec.outputs]
    deviations = (quality or ReferenceQuality()).deviations
    outputs = tuple(
        OutputParity(
            name,
            _differences(name, actual, reference),
            _differences(name, actual, float64) if float64 else (),
            {variant: found[name] for variant, found in deviations.items() if name in found},
        )
        for name in names
    )
    tolerances = dict.fromkeys(names, tolerance) if isinstance(tolerance, Tolerance) else tolerance
    return judge_outputs(outputs, tolerances, quality or ReferenceQuality(), len(reference))


def judge_outputs(
    outputs: Sequence[OutputParity],
    tolerances: Mapping[str, Tolerance],
    quality: ReferenceQuality,
    samples: int,
) -> Parity:
    """Judge measured outputs. This needs no arrays, so it can be repeated at any time."""
    vacuous = vacuous_outputs(quality, tolerances)
    judged = tuple(
        replace(_judge_output(out, tolerances[out.name]), vacuous=vacuous.get(out.name))
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
    """Compare with the layer, then with the layer in float64, then with the noise allowed."""
    difference, rounding = output.differences[at], usual_rounding(output.differences, tolerance)
    problem = complaint(difference, tolerance, STILL, rounding)
    if problem is None:
        return _SampleVerdict("layer")
    most = _most_noise(output, at)
    noise = deviation_at(output.deviations, at)
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


def _most_noise(output: OutputParity, sample: int) -> float:
    """Return the largest noise on one sample with which the layer can still be a reference."""
    usual = max(difference.rms for difference in output.differences)
    return 0.0 if output.differences[sample].exact else MOST_NOISE * usual


def _differences(
    name: str, actual: Sequence[Tensors], reference: Sequence[Tensors]
) -> tuple[Difference, ...]:
    return tuple(
        compare(np.asarray(a[name]), np.asarray(r[name]), name)
        for a, r in zip(actual, reference, strict=True)
    )


def _note(outputs: Sequence[OutputParity]) -> str | None:
    """Name the outputs that passed only against float64 or within the layer's own noise."""
    closer = [printable(output.name) for output in outputs if "float64" in output.bases]
    excused = [output.deviation_summary for output in outputs if "noise" in output.bases]
    notes = []
    if closer:
        notes.append(f"nearer to the layer in float64 than the eager layer is: {', '.join(closer)}")
    if excused:
        notes.append(f"within the layer's own noise: {', '.join(excused)}")
    return "; ".join(notes) or None
