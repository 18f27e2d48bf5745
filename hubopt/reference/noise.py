"""The layer's answers computed by other variants, to measure the noise of the reference.

The eager layer is a reference with an error of its own. TensorFlow has two sets of kernels on
a CPU, its own and oneDNN's, and picks one by the processor; XLA has a third. The distance between
their answers is the noise of the reference. The same graph in float64 is a better reference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from hubopt._util.trimming import trim_heap
from hubopt.errors import HuboptError
from hubopt.exporter import Program
from hubopt.reference.variants import VARIANTS, VariantRunner
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker

_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
SHARED_ENVIRONMENT = {} if _SWITCH in os.environ else {_SWITCH: "0"}
"""The environment of a child that measures noise besides other work. On most processors oneDNN is
on by default, so this switches it. If it does not switch it, noise has a child of its own."""
IMPORTS = ("tensorflow", __name__)
"""The modules that the child imports."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the samples, by variant.

    Attributes:
        answers: The file of `hubopt.sampling.arrays` with all outputs, for each of `VARIANTS` that
            was computed. Answers in float64 are stored in float64.
        problems: Why a variant was not computed, by variant.
    """

    answers: Mapping[str, Path]
    problems: Mapping[str, str]


class NoiseMeter:
    """Computes the variants of a program, in a child process with oneDNN switched.

    A variant that fails is reported and does not affect the others. A child that dies is started
    again. Use it as a context manager: leaving it ends the child, unless others use it, too.

    Args:
        log: The file that the child's output is written to.
        shared: A child with `SHARED_ENVIRONMENT` that others use, too. It is used if oneDNN is
            switched there.
    """

    def __init__(self, log: Path, shared: SharedWorker | None = None) -> None:
        self._log = log
        self._shared = shared
        self._own = {on: SharedWorker(log, _switched(on), IMPORTS) for on in (True, False)}
        self._ready: tuple[Worker, VariantRunner] | None = None
        self._measuring = Lock()

    def __enter__(self) -> NoiseMeter:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as ending:
            for child in self._own.values():
                ending.push(child)

    def measure(
        self,
        program: Program,
        inputs: Path,
        folder: Path,
        onednn_on: bool,
        variants: Sequence[str] = VARIANTS,
        numbers: Sequence[int] | None = None,
    ) -> Answers:
        """Compute the answers to the samples by each of the variants in ``variants``.

        Args:
            program: The traced layer, the same in every call. Without a frozen graph, as with
                lookup tables, only ``onednn`` can be computed.
            inputs: The file of the samples.
            folder: The folder that ``onednn.npz`` and so on are written to.
            onednn_on: Whether the reference is computed with oneDNN's kernels, see
                `hubopt._platform.tf_private.onednn_is_on`.
            variants: A selection of `VARIANTS`.
            numbers: The numbers of the samples; by default all.

        Raises:
            WorkerCrashError: The context was left meanwhile, by another thread.
        """
        folder.mkdir(parents=True, exist_ok=True)
        child = self._child(onednn_on)
        answers: dict[str, Path] = {}
        problems: dict[str, str] = {}
        with self._measuring:
            for variant in variants:
                path = folder / f"{variant}.npz"
                try:
                    with child.use(self._log) as worker:
                        runner = self._get_ready(worker, program, onednn_on)
                        problem = runner.take(variant, inputs, path, numbers)
                except HuboptError as error:
                    if child.is_stopped:
                        raise
                    problem = error.found
                if problem is None:
                    answers[variant] = path
                else:
                    problems[variant] = problem
                    path.unlink(missing_ok=True)
        return Answers(answers, problems)

    def find_xla_error(
        self, program: Program, inputs: Path, number: int, output: str, onednn_on: bool
    ) -> str | None:
        """Return the first operation before ``output`` that XLA computes wrongly; None if unknown.

        Args:
            program: The traced layer.
            inputs: The file of the samples.
            number: The number of a sample on which XLA is wrong.
            output: The name of an output that is wrong there.
            onednn_on: As for `measure`.
        """
        child = self._child(onednn_on)
        with self._measuring:
            try:
                with child.use(self._log) as worker:
                    runner = self._get_ready(worker, program, onednn_on)
                    return runner.find_xla_error(inputs, number, output)
            except HuboptError:
                if child.is_stopped:
                    raise
                return None

    def rest(self) -> None:
        """Free the memory of the measurements; the next measurement takes it again."""
        with self._measuring:
            ready, self._ready = self._ready, None
            if ready is not None and ready[0].is_running:
                ready[0].forget()
                ready[0].call(_release_fed_arrays)

    def _child(self, onednn_on: bool) -> SharedWorker:
        is_switched = onednn_on and bool(SHARED_ENVIRONMENT)
        return self._shared if self._shared and is_switched else self._own[onednn_on]

    def _get_ready(self, worker: Worker, program: Program, onednn_on: bool) -> VariantRunner:
        if self._ready is None or self._ready[0] is not worker:
            self._ready = worker, worker.create(VariantRunner, program, onednn_on)
        return self._ready[1]


def _release_fed_arrays() -> None:
    """Free the arrays fed to closed sessions; TensorFlow drops them only at its next call."""
    import tensorflow as tf

    tf.constant([0.0]).numpy()
    trim_heap()


def _switched(onednn_on: bool) -> dict[str, str]:
    return {_SWITCH: "0" if onednn_on else "1"}
