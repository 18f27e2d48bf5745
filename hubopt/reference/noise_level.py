"""How much the layer's own noise is measured: as far as a verdict hangs on it.

An artifact that agrees with the eager layer and leaves a quarter of its tolerance needs no
excuse. To measure the noise fully takes longer than everything else in an export, so it is done in
steps, and the next one only where a verdict or the layer itself asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hubopt.errors import UsageError
from hubopt.exporter import Program, Tensors
from hubopt.parity.deviations import FLOAT64
from hubopt.parity.reference import WEIGHTS, NoiseLevel, same_tensors
from hubopt.progress import Progress
from hubopt.reference.noise import MOST_COPIED_BYTES, ROUNDED, VARIANTS, Answers, NoiseMeter
from hubopt.reference.reference_set import LIGHT_SAMPLES, ReferenceSet, add_noise, leaves_bounds
from hubopt.sampling.arrays import read_samples, write_samples

Noise: TypeAlias = Literal["off", "auto", "full"]
"""How much is measured: nothing, what a verdict hangs on, everything."""

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
    """Check what a caller asks for.

    Raises:
        UsageError: It is none of `Noise`.
    """
    if noise not in get_args(Noise):
        expected = f"one of: {', '.join(get_args(Noise))}"
        raise UsageError("noise", repr(noise), expected, "pass one of these")


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The first step, taken on samples that no reference set has yet.

    Attributes:
        samples: What was asked.
        answers: The other answers to them.
    """

    samples: Sequence[Tensors]
    answers: Future[Answers]


@dataclass(frozen=True, slots=True)
class NoiseEscalation:
    """Measures the layer's noise step by step.

    Attributes:
        noise: How much may be measured.
        program: The traced layer.
        meter: Measures it.
        work: A folder for what is not kept.
        progress: Told what begins.
    """

    noise: Noise
    program: Program
    meter: NoiseMeter
    work: Path
    progress: Progress

    def look(self, samples: Sequence[Tensors], onednn_on: bool) -> Answers:
        """Take the first step on ``samples``, with which a reference set is likely to begin.

        Args:
            samples: `LIGHT_SAMPLES` of them.
            onednn_on: As `ReferenceSet.onednn_on`.
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
        """Whether the first step is taken on the first samples alone."""
        return self._next_to("off") == "light"

    def begin(self, known: ReferenceSet, first: FirstLook | None = None) -> ReferenceSet:
        """Return ``known`` with what the first step shows; nothing if no noise is measured.

        Args:
            known: Nothing is known of its noise.
            first: The first step, if it was taken on the samples that ``known`` begins with.
        """
        if first is not None and self._begins_with(known, first.samples):
            found = first.answers.result()
            return self._follow(add_noise(known, found.answers, found.problems, "light"))
        return self.next(known) or known

    def next(self, known: ReferenceSet) -> ReferenceSet | None:
        """Measure what comes next to what ``known`` knows; None if there is no more."""
        deeper = self._step(known)
        return None if deeper is None else self._follow(deeper)

    def _follow(self, known: ReferenceSet) -> ReferenceSet:
        """Take another step where the first one shows that it will be asked for.

        The layer does not keep to the bounds itself, or that cannot be told, as TensorFlow has one
        set of kernels here: artifacts of such a layer need its answers in float64, here or on
        another machine.
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
            self.meter.rest()  # what it holds is wanted for the artifacts
        return deeper

    @property
    def _is_large(self) -> bool:
        return self.program.frozen_bytes > MOST_COPIED_BYTES

    def _begins_with(self, known: ReferenceSet, samples: Sequence[Tensors]) -> bool:
        numbers = tuple(range(len(samples)))
        if known.kept[:LIGHT_SAMPLES] != numbers:
            return False
        asked = read_samples(known.inputs, known.spec.inputs, numbers)
        return all(map(same_tensors, asked, samples))

    def _next_to(self, level: NoiseLevel, is_narrow: bool = False) -> NoiseLevel | None:
        """Return the step after ``level``; ``is_narrow``: there is no float64."""
        if self.noise == "off" or level == "full":
            return None
        if self.noise == "full" or self._is_large:  # of a large one there is but one way
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
        there = dict(known.variants)
        if known.float64:
            there[FLOAT64] = known.float64
        ways = [way for way in _ASKED[level] if way not in there]
        found = self.meter.measure(
            self.program, known.inputs, self.work, known.onednn_on, ways, numbers
        )
        answers = dict(found.answers)
        if level != "light":
            if FLOAT64 in answers:
                answers[FLOAT64] = answers[FLOAT64].replace(known.inputs.with_name("float64.npz"))
            answers = {**there, **answers}
        return add_noise(known, answers, found.problems, level)
