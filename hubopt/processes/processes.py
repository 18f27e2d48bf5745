"""`Processes`: what an export runs beside itself, each started when it is first needed."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path

from hubopt.order import Order
from hubopt.processes.converting import Converter
from hubopt.processes.on_demand import Opened, open_model
from hubopt.progress import Beside, Progress
from hubopt.reference.noise import NoiseMeter


class Processes:
    """The layer's process, the converter's, that of the noise, and the threads that ask them.

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
        self.converter = Converter(order.exporters, logs / "convert.log")
        self.meter = NoiseMeter(self._log)
        self._layer = ExitStack()
        self.prepare = functools.cache(self._prepare)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as ending:
            ending.push(self.beside)  # its threads wait for the others, which end before
            ending.push(self.converter)
            ending.push(self.meter)
            ending.push(self._layer)

    def open_layer(self) -> Opened:
        """Load the model."""
        order = self._order
        return open_model(
            order.model, order.layer, order.access, self._log, self._layer, self._progress
        )

    def end_layer(self) -> None:
        """End the layer's process, whose memory is wanted."""
        self._layer.close()

    def _prepare(self) -> None:
        """Let be imported, beside the layer, what is needed once that is there."""
        self.converter.start()
        if self._order.question.noise != "off":  # one after the other
            self.beside.submit(lambda: self.meter.start(self.converter.onednn_is_on()))
