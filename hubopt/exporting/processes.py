"""`Processes`: what an export runs beside itself, each started when it is first needed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from hubopt.exporting.order import Order
from hubopt.progress import Beside, Progress
from hubopt.reference import noise
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.on_demand import Opened, open_model
from hubopt.runs.converting import Converter, needs
from hubopt.workers.shared import SharedWorker


class Processes:
    """The layer's process, that of conversions and noise, and the threads that ask them.

    Use it as a context manager: leaving ends them all.

    Args:
        order: What is exported.
        logs: A folder for what they print.
        progress: Told what begins.

    Attributes:
        beside: The threads.
        converter: Writes artifacts.
        meter: Measures the layer's noise.
    """

    def __init__(self, order: Order, logs: Path, progress: Progress) -> None:
        self._order = order
        self._log = logs / "layer.log"
        self._progress = progress
        self.beside = Beside(progress)
        measures = order.question.noise != "off"
        self._child = SharedWorker(
            logs / "convert.log",
            noise.SHARED_ENVIRONMENT,
            (*needs(order.exporters), *(noise.IMPORTS if measures else ())),
        )
        self.meter = NoiseMeter(self._log, self._child)
        done = (lambda: None) if measures else self._child.rest  # its memory is wanted
        self.converter = Converter(order.exporters, self._child, done)
        self._layer = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as ending:
            ending.push(self.beside)  # its threads wait for the others, which end before
            ending.push(self._child)
            ending.push(self.meter)
            ending.push(self._layer)

    def prepare(self) -> None:
        """Let be imported, beside the layer, what is needed once that is there."""
        self._child.start()

    def open_layer(self) -> Opened:
        """Load the model."""
        order, log = self._order, self._log
        return open_model(
            order.model,
            order.layer,
            order.access,
            log,
            self._layer,
            self._progress,
            order.most_bytes,
        )

    def end_layer(self) -> None:
        """End the layer's process, whose memory is wanted; nothing waits for that."""
        self.beside.submit(self._layer.close)
