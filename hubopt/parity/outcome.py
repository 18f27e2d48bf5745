"""The outcome of a comparison: the metrics and the verdict of each output, and of all outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from hubopt._util.escaping import printable
from hubopt._util.short_repr import short_repr
from hubopt.parity.comparison import Comparison
from hubopt.parity.deviations import (
    FLOAT64,
    MOST_NOISE,
    Deviation,
    deviation_at,
    largest_deviation,
)
from hubopt.parity.judging import NOISE_FACTOR, complaint, largest_share, usual_rounding
from hubopt.parity.metrics import Difference
from hubopt.parity.tolerance import Tolerance

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
TIE: Final = "tie"
Basis = Literal["layer", "float64", "noise", "tie"]
"""The reference that a sample passed against: the eager layer; the layer computed in float64, if
the eager layer is the noisy side; the eager layer with its own noise allowed; another of its own
answers, if its order is a tie."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The metrics and the verdict of one output over all samples.

    Attributes:
        name: The name of the output.
        differences: The differences from the eager layer, one for each sample.
        from_float64: The differences from the layer computed in float64, one for each sample;
            empty if there are no outputs in float64.
        beside_ties: The differences from the nearest of the layer's own answers, one for each
            sample; None where the layer's order is no tie. Empty if no ties are known.
        deviations: The layer's own noise in this output, by variant, for each sample.
        tolerance: The output's tolerance.
        bases: The reference that each sample passed against; None if it did not pass.
        problems: What did not pass, one sentence per problem; empty if everything passed.
        unsteady: Whether it fails only within the layer's own noise, and this noise is too large
            for the layer to be a reference.
        vacuous: Why passing proves nothing; None if it proves something.
        constant: Whether the layer gives exactly the same for every input.
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
    constant: bool = False
    beside_ties: tuple[Difference | None, ...] = ()

    __repr__ = short_repr

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
            self.from_float64[at]
            if basis == FLOAT64
            else (self.tie(at) if basis == TIE else None) or self.differences[at]
            for at, basis in enumerate(self.bases)
        )

    def tie(self, sample: int) -> Difference | None:
        """Return the difference beside the ties of a sample; None if there are none."""
        return self.beside_ties[sample] if self.beside_ties else None

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

    def most_noise(self, sample: int) -> float:
        """Return the largest noise on one sample with which the layer can still be a reference."""
        usual = max(difference.rms for difference in self.differences)
        return 0.0 if self.differences[sample].exact else MOST_NOISE * usual

    def _is_excused_clearly(self, sample: int) -> bool:
        noise, limit = deviation_at(self.deviations, sample).largest, self.most_noise(sample)
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
        cause: Why it failed, if the cause is known to be outside of the layer and the exporter.
    """

    passed: bool
    problems: tuple[str, ...]
    outputs: tuple[OutputParity, ...]
    samples: int
    unsteady: bool = False
    vacuous: tuple[str, ...] = ()
    note: str | None = None
    cause: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether no further measurement of the layer's noise would change the verdict.

        This is so if every output passes by a margin, see `OutputParity.is_clear`, and none is
        vacuous without being constant; and if nothing can be compared, because names or shapes
        differ.
        """
        if not self.outputs:
            return True
        # On more samples, an output may turn out to depend on its inputs or weights after all.
        doubtful = any(out.vacuous and not out.constant for out in self.outputs)
        if self.status != "verified" or doubtful:
            return False
        return all(out.is_clear for out in self.outputs)

    @property
    def is_vacuous(self) -> bool:
        """Whether an output is vacuous and no other one shows that the artifact is right.

        A constant output shows only that the constant is right.
        """
        informative = any(not out.vacuous and not out.constant for out in self.outputs)
        return bool(self.vacuous) and not informative

    def comparison(self, samples: Sequence[int]) -> Comparison:
        """Return the differences without the verdict, for samples with these numbers."""
        wide = {output.name: output.from_float64 for output in self.outputs if output.from_float64}
        near = {output.name: output.differences for output in self.outputs}
        tied = {output.name: output.beside_ties for output in self.outputs if output.beside_ties}
        return Comparison(tuple(samples), near, wide, () if near else self.problems, tied)

    @property
    def status(self) -> Literal["verified", "vacuous", "unverified", "failed"]:
        """The status of a target with this parity."""
        if self.passed:
            return "vacuous" if self.is_vacuous else "verified"
        return "unverified" if self.unsteady else "failed"

    def __repr__(self) -> str:
        from hubopt.parity.format import format_parity

        return format_parity(self)

    def _repr_html_(self) -> str:
        from hubopt.parity.format import parity_html

        return parity_html(self)
