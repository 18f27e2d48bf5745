"""How deep the layer's own noise is measured: as far as a verdict hangs on it.

An artifact that agrees with the eager layer and leaves a quarter of its tolerance needs no
excuse. To measure the noise fully takes longer than everything else in an export, so it is done in
steps, and the next one only where an artifact asks for it, or the layer itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hubopt.errors import UsageError
from hubopt.exporter import Program, Tensors
from hubopt.parity.moves import FLOAT64
from hubopt.parity.reference import WEIGHTS, Depth, same_tensors
from hubopt.progress import Beside, Progress
from hubopt.reference.kit import Kit, add_noise, leaves_bounds
from hubopt.reference.noise import MOST_COPIED_BYTES, ROUNDED, WAYS, Answers, NoiseMeter
from hubopt.sampling.arrays import read_samples, write_samples

Noise: TypeAlias = Literal["off", "auto", "full"]
"""How much is measured: nothing, what a verdict hangs on, everything."""

LIGHT_SAMPLES = 2
"""On how many samples a first look is taken."""
_ASKED: Mapping[Depth, Sequence[str]] = {
    "light": ("onednn", WEIGHTS),
    "float64": (FLOAT64,),
    "rounded": ("onednn", *ROUNDED),
    "full": WAYS,
}
_LABELS: Mapping[Depth, str] = {
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
class _Ahead:
    """A first look at samples that no kit has yet."""

    samples: Sequence[Tensors]
    found: Callable[[], Answers]


class Deepening:
    """Measures the next step: given a kit, gives the deeper one, or None if there is none.

    Args:
        noise: How much may be measured.
        program: The traced layer.
        meter: Measures it.
        work: A folder for what is not kept.
        progress: Told what begins.
    """

    def __init__(
        self, noise: Noise, program: Program, meter: NoiseMeter, work: Path, progress: Progress
    ) -> None:
        self._noise = noise
        self._program = program
        self._meter = meter
        self._work = work
        self._progress = progress
        self._is_large = program.frozen_bytes > MOST_COPIED_BYTES
        self._known: dict[str, Path] = {}  # what was answered to all samples
        self._ahead: _Ahead | None = None

    def look_ahead(self, samples: Sequence[Tensors], onednn_on: bool, beside: Beside) -> None:
        """Begin with the first step, for a kit that will most likely begin with ``samples``.

        Args:
            samples: Of more than are needed the first are taken.
            onednn_on: As `Kit.onednn_on`.
            beside: Where to measure.
        """
        if self._next_to("off") != "light":
            return
        samples = samples[:LIGHT_SAMPLES]
        self._work.mkdir(parents=True, exist_ok=True)
        inputs = self._work / "first.npz"
        write_samples(inputs, samples)

        def look() -> Answers:
            with beside.note(_LABELS["light"]):
                return self._meter.measure(
                    self._program, inputs, self._work, onednn_on, _ASKED["light"], len(samples)
                )

        self._ahead = _Ahead(samples, beside.submit(look))

    def __call__(self, kit: Kit) -> Kit | None:
        """Measure what comes next to what ``kit`` knows.

        Two steps where the first look shows a layer that does not keep to the bounds itself, or
        cannot tell, as TensorFlow has one set of kernels here: artifacts of such a one need its
        float64 self, here or on another machine.
        """
        deeper = self._step(kit)
        if deeper is None or deeper.facts.depth != "light":
            return deeper
        is_unknown = "onednn" in deeper.facts.untaken
        return self._step(deeper) if is_unknown or leaves_bounds(deeper) else deeper

    def _step(self, kit: Kit) -> Kit | None:
        depth = self._next(kit)
        if depth is None:
            return None
        if depth == "light" and self._ahead and self._begins_with(kit, self._ahead.samples):
            found = self._ahead.found()
            return add_noise(kit, found.answers, found.problems, depth)
        with self._progress(_LABELS[depth]):
            deeper = self._measure(kit, depth)
        if self._is_large:
            self._meter.rest()  # what it holds is wanted for the artifacts
        return deeper

    def _begins_with(self, kit: Kit, samples: Sequence[Tensors]) -> bool:
        asked = read_samples(kit.inputs, self._program.spec.inputs)[:LIGHT_SAMPLES]
        return len(asked) == len(samples) and all(map(same_tensors, asked, samples))

    def _next(self, kit: Kit) -> Depth | None:
        is_narrow = FLOAT64 in kit.facts.untaken or not self._program.has_frozen_graph
        return self._next_to(kit.facts.depth, is_narrow)

    def _next_to(self, depth: Depth, is_narrow: bool = False) -> Depth | None:
        """Return the step after ``depth``; ``is_narrow``: there is no float64."""
        if self._noise == "off" or depth == "full":
            return None
        if self._noise == "full" or self._is_large:  # of a large one there is but one way
            return "full"
        if depth == "off":
            return "light"
        if depth == "light" and not is_narrow:
            return "float64"
        if depth != "rounded" and self._program.has_frozen_graph:
            return "rounded"
        return "full"

    def _measure(self, kit: Kit, depth: Depth) -> Kit:
        count = LIGHT_SAMPLES if depth == "light" else None
        known = {*self._known, *([FLOAT64] if kit.float64 else [])}
        ways = [way for way in _ASKED[depth] if way not in known]
        found = self._meter.measure(
            self._program, kit.inputs, self._work, kit.onednn_on, ways, count
        )
        answers = dict(found.answers)
        if depth != "light":
            if FLOAT64 in answers:
                answers[FLOAT64] = answers[FLOAT64].replace(kit.inputs.with_name("float64.npz"))
            elif kit.float64:
                answers[FLOAT64] = kit.float64
            self._known.update(answers)
            answers = dict(self._known)
        return add_noise(kit, answers, found.problems, depth)
