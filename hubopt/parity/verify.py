"""The verdict on an artifact: what it gives against what the eager layer gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from hubopt._util.escaping import printable
from hubopt.exporter import Tensors
from hubopt.parity.comparison import Comparison, compare_outputs
from hubopt.parity.deviations import (
    FLOAT64,
    MOST_NOISE,
    STILL,
    Deviation,
    deviation_at,
    largest_deviation,
)
from hubopt.parity.judging import (
    NOISE_FACTOR,
    complaint,
    complaints_of_all,
    largest_share,
    leaves_stated,
    usual_rounding,
)
from hubopt.parity.metrics import Difference
from hubopt.parity.reference import ReferenceQuality
from hubopt.parity.tolerance import Tolerance
from hubopt.parity.vacuity import vacuous_outputs
from hubopt.spec import ModelSpec

_CLEAR = 0.75
"""Of the tolerance: where less is used, the machine that verifies next may round otherwise. With
other kernels of the same runtime an artifact of a layer that keeps to the bounds itself used up to
a quarter more of it (`python -m benchmarks.other_kernels`)."""
_MARGIN = 100.0
"""How often what float64 moves a sample may go into what is too much, where nothing else was
measured there: another way moves it otherwise, ten times as far on one sample of basic-pitch."""
_ROUNDED = "rounded1"
"""Of `VARIANTS`: where this was measured, the others with weights moved by a rounding were, too."""
Basis = Literal["layer", "float64", "noise"]
"""What an output passed against: the eager layer; the layer computed in float64, where the
eager layer is the noisy side; the eager layer with its own noise allowed."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output over all samples.

    Attributes:
        name: The output.
        differences: From the eager layer, one for each sample.
        from_float64: From the layer computed in float64, likewise; empty if that is not there.
        deviations: How far the layer itself moves here, by way, for each sample.
        tolerance: What it is held to.
        bases: What each sample passed against; None if it did not.
        problems: What did not pass, one sentence each; none if everything did.
        unsteady: Whether it is only off by what the layer itself moves, which is too much for
            the layer to be a reference.
        vacuous: Why passing proves nothing; None if it does.
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
        return max((each.max_abs for each in self.judged), default=0.0)

    @property
    def worst(self) -> float:
        """The largest share of the tolerance that was used; passes up to 1 without noise."""
        return largest_share(self.judged, self.tolerance)

    @property
    def sqnr_db(self) -> float:
        """The smallest signal to noise ratio of a sample; infinite without error."""
        return min((each.sqnr_db for each in self.judged), default=math.inf)

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

        Every sample agrees with the eager layer and leaves a quarter of the tolerance; or agrees
        with the eager layer or its float64 self, where that was asked; or is excused by the
        layer's noise on that very sample, which is far from being too much.
        """
        if all(basis == "layer" for basis in self.bases) and self.worst <= _CLEAR:
            return True
        return bool(self.from_float64) and all(
            basis in ("layer", FLOAT64) or (basis == "noise" and self._is_excused_clearly(at))
            for at, basis in enumerate(self.bases)
        )

    def _is_excused_clearly(self, sample: int) -> bool:
        move, most = deviation_at(self.deviations, sample).largest, _most_noise(self, sample)
        # Another way to compute it may move it by that much more, and it is still a reference.
        if len(self.deviations.get(_ROUNDED, ())) == len(self.differences):
            return NOISE_FACTOR * move <= most
        rounding = usual_rounding(self.differences, self.tolerance)
        known = self.deviations[FLOAT64][sample]  # what else there is may be of other samples
        excused = complaint(self.differences[sample], self.tolerance, known, rounding) is None
        return excused and _MARGIN * move <= most

    @property
    def deviation_summary(self) -> str:
        """What moves the layer, in words."""
        return f"{printable(self.name)} {largest_deviation(self.deviations)}"


@dataclass(frozen=True, slots=True, repr=False)
class Parity:
    """The verdict on one artifact.

    Attributes:
        passed: Whether every output of every sample is within the tolerance.
        problems: Why not, one sentence each; empty if it passed.
        outputs: The metrics and the verdict by output.
        samples: How many samples were compared.
        unsteady: Whether it did not pass only because the layer itself moves by as much.
        vacuous: Outputs on which passing proves nothing, one sentence each.
        note: What it took to pass besides the tolerance; None if nothing.
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
        """Whether nothing more that could be measured of the layer would change the verdict.

        So it is where every output passes and says so, see `OutputParity.is_clear`; and where
        there is nothing to compare, because names or shapes differ.
        """
        if not self.outputs:
            return True
        return self.passed and not self.vacuous and all(each.is_clear for each in self.outputs)

    def comparison(self, samples: Sequence[int]) -> Comparison:
        """Return what was measured, without the verdict; ``samples`` are the samples' numbers."""
        wide = {output.name: output.from_float64 for output in self.outputs if output.from_float64}
        near = {output.name: output.differences for output in self.outputs}
        return Comparison(tuple(samples), near, wide, () if near else self.problems)

    @property
    def status(self) -> Literal["verified", "vacuous", "unverified", "failed"]:
        """What a target with this parity is."""
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
    """Compare what an artifact gave with what the layer gave, sample by sample.

    Names come first, then shapes and dtypes, then NaN and infinities, then values.

    Args:
        spec: The model's outputs.
        actual: The artifact's outputs for each sample.
        reference: The eager layer's outputs for the same samples.
        tolerance: For all outputs, or by output.
        quality: What is known of the reference.
        float64: The layer's outputs computed in float64.
    """
    comparison = compare_outputs(spec, actual, reference, float64)
    names = spec.output_names
    tolerances = dict.fromkeys(names, tolerance) if isinstance(tolerance, Tolerance) else tolerance
    return judge_comparison(comparison, tolerances, quality or ReferenceQuality())


def judge_comparison(
    comparison: Comparison, tolerances: Mapping[str, Tolerance], quality: ReferenceQuality
) -> Parity:
    """Judge what was measured before.

    Args:
        comparison: How far the artifact is from the layer.
        tolerances: By output.
        quality: What is known of the reference, for the same samples.
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
                variant: by_output[name]
                for variant, by_output in quality.deviations.items()
                if name in by_output
            },
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
    """Judge what was measured; needs no arrays, so it can be done again at any time."""
    vacuous = vacuous_outputs(quality, tolerances)
    judged = tuple(
        replace(_judge_output(each, tolerances[each.name]), vacuous=vacuous.get(each.name))
        for each in outputs
    )
    failing = [each for each in judged if each.problems]
    return Parity(
        passed=not failing,
        problems=tuple(
            f"output {printable(each.name)}, {text}" for each in failing for text in each.problems
        ),
        outputs=judged,
        samples=samples,
        unsteady=bool(failing) and all(each.unsteady for each in failing),
        vacuous=tuple(
            f"output {printable(each.name)}: {each.vacuous}" for each in judged if each.vacuous
        ),
        note=_note(judged),
    )


def _judge_output(output: OutputParity, tolerance: Tolerance) -> OutputParity:
    samples = [_judge_sample(output, at, tolerance) for at in range(len(output.differences))]
    of_all = complaints_of_all(output.differences, tolerance)
    failing = {at: each for at, each in enumerate(samples) if each.problem}
    return replace(
        output,
        tolerance=tolerance,
        bases=tuple(each.basis for each in samples),
        problems=(*(f"sample {at}: {each.problem}" for at, each in failing.items()), *of_all),
        unsteady=bool(failing) and not of_all and all(each.unsteady for each in failing.values()),
    )


class _SampleVerdict(NamedTuple):
    basis: Basis | None
    problem: str | None = None
    unsteady: bool = False


def _judge_sample(output: OutputParity, at: int, tolerance: Tolerance) -> _SampleVerdict:
    """Try the layer first, then its float64 self, then the layer with its own noise."""
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
    return f"; the layer itself moves by {noise.largest:.1e} there, which the bound does not allow"


def _most_noise(output: OutputParity, sample: int) -> float:
    """Return what the layer may move on one sample and still be a reference."""
    usual = max(each.rms for each in output.differences)
    return 0.0 if output.differences[sample].exact else MOST_NOISE * usual


def _note(outputs: Sequence[OutputParity]) -> str | None:
    """Say what the layer itself moves, where an output needed that to pass."""
    closer = [printable(each.name) for each in outputs if "float64" in each.bases]
    excused = [each.deviation_summary for each in outputs if "noise" in each.bases]
    notes = []
    if closer:
        notes.append(f"nearer to the layer in float64 than the eager layer is: {', '.join(closer)}")
    if excused:
        notes.append(f"within the layer's own noise: it moves {', '.join(excused)}")
    return "; ".join(notes) or None
