"""`Processes`: the child processes and threads of an export, which all start here."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hubopt.exporter import Program
from hubopt.exporting.cache import ExportCache
from hubopt.exporting.request import ExportRequest
from hubopt.progress import Background, Progress
from hubopt.reference import noise
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.measuring import ask_layer
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_level import NoiseEscalation
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.convert import needs
from hubopt.runs.run import Baseline
from hubopt.workers.shared import SharedWorker


class Processes:
    """The process of the layer, the process of conversions and noise, and the threads that wait.

    This is a context manager; leaving it ends all of them.

    Args:
        request: The request.
        logs: The folder for the output that the processes print.
        work: A folder for temporary files.
        progress: Called with a label when a step begins.

    Attributes:
        background: The threads.
        child: The process of conversions and noise.
    """

    def __init__(self, request: ExportRequest, logs: Path, work: Path, progress: Progress) -> None:
        self._request = request
        self._log = logs / "layer.log"
        self._work = work
        self._progress = progress
        self.background = Background(progress)
        self.child = SharedWorker(
            logs / "convert.log",
            noise.SHARED_ENVIRONMENT,
            (*needs(request.exporters), *(noise.IMPORTS if self._measures_noise else ())),
        )
        self._meter = NoiseMeter(self._log, self.child)
        self._layer = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as ending:
            ending.push(self.background)  # ends last, since its threads wait for the processes
            ending.push(self.child)
            ending.push(self._meter)
            ending.push(self._layer)

    @property
    def _measures_noise(self) -> bool:
        return self._request.plan.noise != "off"

    def warm_up(self) -> None:
        """Import the converters in the background while the layer loads."""
        self.child.start()

    def open_layer(self) -> LayerProcess:
        """Load the model."""
        request = self._request
        return self._layer.enter_context(
            LayerProcess(
                request.model,
                request.layer,
                request.load_policy,
                self._log,
                self._progress,
                request.most_bytes,
            )
        )

    def escalation(self, program: Program) -> NoiseEscalation:
        """Return the means to measure more of the layer's noise."""
        work = self._work / "noise"
        return NoiseEscalation(self._request.level, program, self._meter, work, self._progress)

    def begin_reference(
        self, layer: LayerProcess, program: Program, cache: ExportCache, folder: Path
    ) -> Future[ReferenceSet]:
        """Start to run the samples through the layer; the result is stored in the cache.

        Args:
            layer: The eager layer. If nothing is timed, its process ends after the last answer.
            program: The trace of the layer.
            cache: The cache of stages.
            folder: The folder for the samples and the layer's outputs.
        """
        return self.background.submit(self._measure_reference, layer, program, cache, folder)

    def _measure_reference(
        self, layer: LayerProcess, program: Program, cache: ExportCache, folder: Path
    ) -> ReferenceSet:
        background = self.background
        escalation = replace(self.escalation(program), progress=background.note)
        answered, first = ask_layer(
            self._request.plan,
            layer,
            program,
            folder,
            self._work,
            escalation,
            self.child,
            background,
        )
        if not self._request.rounds:
            layer.close()  # to free its memory
        measured = escalation.begin(answered, first)
        cache.keep_reference(measured)
        return measured

    def begin_baseline(
        self, layer: LayerProcess, reference: Future[ReferenceSet]
    ) -> Future[Baseline]:
        """Start to warm the layer up for timing, once it has answered the samples."""
        return self.background.submit(self._prepare_baseline, layer, reference)

    def _prepare_baseline(self, layer: LayerProcess, reference: Future[ReferenceSet]) -> Baseline:
        known = reference.result()
        answers = self._work / "timed.npz"
        layer.session.answer(known.spec, known.inputs, answers, (), known.kept[:1])
        return Baseline(layer.session, None, self._request.rounds)

    def end_conversions(self) -> None:
        """End the process of conversions if it measures no noise, to free its memory."""
        if not self._measures_noise:
            self.child.rest()
