"""How deep the layer's own noise is measured: as far as a verdict hangs on it.

An artifact that agrees with the eager layer and leaves half of its tolerance needs no excuse. To
measure the noise fully takes longer than everything else in an export, so it is done in steps,
and the next one only where an artifact asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hubopt.errors import UsageError
from hubopt.exporter import Program
from hubopt.kit import Kit, add_noise
from hubopt.noise import MOST_COPIED_BYTES, WAYS, NoiseMeter
from hubopt.parity.moves import FLOAT64
from hubopt.parity.reference import WEIGHTS, Depth
from hubopt.progress import Progress

Noise: TypeAlias = Literal["off", "auto", "full"]
"""How much is measured: nothing, what a verdict hangs on, everything."""

LIGHT_WAYS = ("onednn", FLOAT64, WEIGHTS)
LIGHT_SAMPLES = 2
"""What is measured in any case: whether the answers depend on the weights, and a first look at
how steady they are."""


def check_noise(noise: str) -> None:
    """Check what a caller asks for.

    Raises:
        UsageError: It is none of `Noise`.
    """
    if noise not in get_args(Noise):
        expected = f"one of: {', '.join(get_args(Noise))}"
        raise UsageError("noise", repr(noise), expected, "pass one of these")


def deepening(
    noise: Noise, program: Program, meter: NoiseMeter, work: Path, progress: Progress
) -> Callable[[Kit], Kit | None]:
    """Return what measures the next step: given a kit, the deeper one, None if there is none.

    Args:
        noise: How much may be measured.
        program: The traced layer.
        meter: Measures it.
        work: A folder for what is not kept.
        progress: Told what begins.
    """

    def measure(kit: Kit, ways: tuple[str, ...], count: int | None = None) -> Kit:
        found = meter.measure(program, kit.inputs, work, kit.onednn_on, ways, count)
        answers = dict(found.answers)
        if count is not None:
            return add_noise(kit, answers, found.problems, "light")
        if FLOAT64 in answers:
            answers[FLOAT64] = answers[FLOAT64].replace(kit.inputs.with_name("float64.npz"))
        elif kit.float64:
            answers[FLOAT64] = kit.float64
        depth: Depth = "float64" if ways == (FLOAT64,) else "full"
        return add_noise(kit, answers, found.problems, depth)

    def deepen(kit: Kit) -> Kit | None:
        depth = kit.facts.depth
        if noise == "off" or depth == "full":
            return None
        if noise == "auto" and depth == "off":
            with progress(f"measure how steady the layer is, on {LIGHT_SAMPLES} samples"):
                lighter = measure(kit, LIGHT_WAYS, LIGHT_SAMPLES)
            if program.frozen_bytes > MOST_COPIED_BYTES:
                meter.rest()  # what it holds is wanted for the artifacts
            return lighter
        if noise == "auto" and depth == "light" and FLOAT64 not in kit.facts.untaken:
            with progress("ask the layer in float64"):
                return measure(kit, (FLOAT64,))
        with progress("measure how steady the layer is"):
            return measure(kit, tuple(way for way in WAYS if not (kit.float64 and way == FLOAT64)))

    return deepen
