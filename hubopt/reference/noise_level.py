"""Measuring the layer's own noise in steps, as far as a verdict depends on it.

If an artifact agrees with the eager layer and leaves a quarter of its tolerance unused, the noise
does not matter. Measuring it fully takes longer than everything else in an export, so it is done
in steps, and the next step is taken only if a verdict or the layer itself requires it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hubopt.errors import UsageError
from hubopt.exporter import Program, Tensors
from hubopt.parity.deviations import FLOAT64, XLA
from hubopt.parity.reference import WEIGHTS, NoiseLevel, same_tensors
from hubopt.parity.ties import TIES
from hubopt.programs.graphs.jitter import orders
from hubopt.progress import Progress
from hubopt.reference.noise import Answers, NoiseMeter
from hubopt.reference.reference_set import (
    LIGHT_SAMPLES,
    ReferenceSet,
    add_noise,
    leaves_bounds,
    xla_error,
)
from hubopt.reference.ties import add_ties
from hubopt.reference.variants import MOST_COPIED_BYTES, ROUNDED, VARIANTS
from hubopt.sampling.arrays import read_samples, write_samples

Noise: TypeAlias = Literal["off", "auto", "full"]
"""How much noise is measured: nothing, as much as a verdict depends on, everything."""

_ASKED: Mapping[NoiseLevel, Sequence[str]] = {
    "light": ("onednn", WEIGHTS),
    "float64": (FLOAT64,),
    "rounded": ("onednn", *ROUNDED),
    "full": VARIANTS,
}
_LABELS: Mapping[NoiseLevel, str] = {
    "light": f"measure how steady the layer is, on {LIGHT_SAMPLES} samples",
    "float64": "ask the layer in float64",
    "rounded": "measure how far roundings move the layer",
    "full": "measure how steady the layer is",
}


def check_noise(noise: str) -> None:
    """Check the value of a caller's ``noise`` argument.

    Raises:
        UsageError: It is not one of `Noise`.
    """
    if noise not in get_args(Noise):
        expected = f"one of: {', '.join(get_args(Noise))}"
        raise UsageError("noise", repr(noise), expected, f"pass {expected}")


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The first step, taken on samples before their reference set exists.

    Attributes:
        samples: The samples.
        answers: The variants' answers to them.
    """

    samples: Sequence[Tensors]
    answers: Future[Answers]


@dataclass(frozen=True, slots=True)
class NoiseEscalation:
    """Measures the layer's noise step by step.

    Attributes:
        noise: How much may be measured.
        program: The traced layer.
        meter: Computes the variants.
        work: A folder for temporary files.
        progress: Called with a label when a step begins.
    """

    noise: Noise
    program: Program
    meter: NoiseMeter
    work: Path
    progress: Progress

    def look(self, samples: Sequence[Tensors], onednn_on: bool) -> Answers:
        """Take the first step on ``samples``, which are likely to begin the reference set.

        Args:
            samples: The samples, `LIGHT_SAMPLES` of them.
            onednn_on: See `ReferenceSet.onednn_on`.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        inputs = self.work / "first.npz"
        write_samples(inputs, samples)
        numbers = tuple(range(len(samples)))
        with self.progress(_LABELS["light"]):
            return self.meter.measure(
                self.program, inputs, self.work, onednn_on, _ASKED["light"], numbers
            )

    @property
    def begins_light(self) -> bool:
        """Whether the first step uses the first samples only."""
        return self._next_to("off") == "light"

    def begin(self, known: ReferenceSet, first: FirstLook | None = None) -> ReferenceSet:
        """Return ``known`` with the noise of the first step; unchanged if no noise is measured.

        Args:
            known: A reference set without any measured noise.
            first: The first step, if it was already taken. It is used if ``known`` begins with
                its samples.
        """
        if first is not None and self._begins_with(known, first.samples):
            found = first.answers.result()
            return self._follow(add_noise(known, found.answers, found.problems, "light"))
        return self.next(known) or known

    def next(self, known: ReferenceSet) -> ReferenceSet | None:
        """Take the next step and return ``known`` with its noise; None if there is no more step."""
        deeper = self._step(known)
        return None if deeper is None else self._follow(deeper)

    def _follow(self, known: ReferenceSet) -> ReferenceSet:
        """Take another step if the first one shows that it will be needed.

        This is so if the layer itself exceeds the bounds. It is also so if that is unknown,
        because TensorFlow has only one set of kernels on this machine. Artifacts of such a layer
        need its answers in float64, here or on another machine.
        """
        if known.quality.level != "light":
            return known
        is_unknown = "onednn" in known.quality.skipped
        return (self._step(known) or known) if is_unknown or leaves_bounds(known) else known

    def _step(self, known: ReferenceSet) -> ReferenceSet | None:
        is_narrow = FLOAT64 in known.quality.skipped or not self.program.has_frozen_graph
        level = self._next_to(known.quality.level, is_narrow)
        if level is None:
            return None
        with self.progress(_LABELS[level]):
            deeper = self._measure(known, level)
        if self._is_large:
            self.meter.rest()  # the artifacts need its memory
        return deeper

    @property
    def _is_large(self) -> bool:
        return self.program.frozen_bytes > MOST_COPIED_BYTES

    def _begins_with(self, known: ReferenceSet, samples: Sequence[Tensors]) -> bool:
        numbers = tuple(range(len(samples)))
        if known.kept[:LIGHT_SAMPLES] != numbers:
            return False
        first = read_samples(known.inputs, known.spec.inputs, numbers)
        return all(map(same_tensors, first, samples))

    def _next_to(self, level: NoiseLevel, is_narrow: bool = False) -> NoiseLevel | None:
        """Return the step after ``level``; ``is_narrow`` means that there is no float64."""
        if self.noise == "off" or level == "full":
            return None
        if self.noise == "full" or self._is_large:  # a large program has only one variant
            return "full"
        if level == "off":
            return "light"
        if level == "light" and not is_narrow:
            return "float64"
        if level != "rounded" and self.program.has_frozen_graph:
            return "rounded"
        return "full"

    def _measure(self, known: ReferenceSet, level: NoiseLevel) -> ReferenceSet:
        numbers = known.kept[:LIGHT_SAMPLES] if level == "light" else known.kept
        computed = dict(known.variants)
        if known.float64:
            computed[FLOAT64] = known.float64
        missing = [variant for variant in _ASKED[level] if variant not in computed]
        measured = self.meter.measure(
            self.program, known.inputs, self.work, known.onednn_on, missing, numbers
        )
        answers = dict(measured.answers)
        if level != "light":
            if FLOAT64 in answers:
                answers[FLOAT64] = answers[FLOAT64].replace(known.inputs.with_name("float64.npz"))
            answers = {**computed, **answers}
        deeper = add_noise(known, answers, measured.problems, level)
        return self._with_ties(self._with_culprit(deeper)) if level == "full" else deeper

    def _with_ties(self, known: ReferenceSet) -> ReferenceSet:
        """Add the samples on which the layer's own order is a tie, if it orders anything."""
        if not orders(self.program.ops):
            return known
        with self.progress("look for ties in the layer's order"):
            measured = self.meter.measure(
                self.program, known.inputs, self.work, known.onednn_on, (TIES,), known.kept
            )
        if TIES in measured.answers:
            return add_ties(known, measured.answers[TIES])
        skipped = {**known.quality.skipped, **measured.problems}
        return replace(known, quality=replace(known.quality, skipped=skipped))

    def _with_culprit(self, known: ReferenceSet) -> ReferenceSet:
        """Name the operation in which XLA goes wrong, if it does and that is quickly found."""
        error = xla_error(known)
        if error is None:
            return known
        output, number = error
        with self.progress("find the operation in which XLA is wrong"):
            culprit = self.meter.find_xla_error(
                self.program, known.inputs, number, output, known.onednn_on
            )
        found = {XLA: culprit} if culprit else {}
        return replace(known, quality=replace(known.quality, culprits=found))
