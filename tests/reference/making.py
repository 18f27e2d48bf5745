"""Build reference sets of functions in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import hubopt
from hubopt.exporter import Program
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.progress import Background, quiet
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.measuring import ask_layer
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_level import Noise, NoiseEscalation
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.sample_plan import SamplePlan
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker


class Here(SharedWorker):
    """A stand-in for a child process: calls run in this process."""

    @contextmanager
    def use(self, log: Path) -> Iterator[Worker]:
        yield cast("Worker", self)

    def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)


def ask(
    function: Any, folder: Path, plan: SamplePlan | None = None
) -> tuple[Program, ReferenceSet]:
    """Return the program of a function and its reference set, without measuring noise."""
    log = folder / "log"
    with (
        LayerProcess(function, LayerOptions(), LoadPolicy(), log, quiet) as layer,
        Background(quiet) as background,
        NoiseMeter(log) as meter,
    ):
        spec = layer.session.resolve(hubopt.Hints())
        program = layer.session.trace(spec, folder / "program", "auto")
        escalation = NoiseEscalation("off", program, meter, folder / "noise", quiet)
        known, first = ask_layer(
            plan or SamplePlan(),
            layer,
            program,
            folder / "reference",
            folder / "work",
            escalation,
            Here(log),
            background,
        )
    assert first is None
    return program, known


def measure(function: Any, folder: Path, noise: Noise = "full") -> ReferenceSet:
    """Return the reference set of a function, with the noise of the given mode."""
    program, known = ask(function, folder, SamplePlan(noise=noise))
    with NoiseMeter(folder / "log") as meter:
        escalation = NoiseEscalation(noise, program, meter, folder / "noise", quiet)
        while deeper := escalation.next(known):
            known = deeper
    return known
