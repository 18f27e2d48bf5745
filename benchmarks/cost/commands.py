"""The measured commands, of hubopt and of the plain tools; each is a whole process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cost.measure import Cost, Limits, measure
from benchmarks.cost.models import LARGEST_MESSAGE_BYTES, weights_bytes

OPSET = "18"  # hubopt's own
_TFLITE = """
import sys
import tensorflow as tf

converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1])
with open(sys.argv[2], "wb") as file:
    file.write(converter.convert())
"""


_LOAD = """
import sys
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
open(sys.argv[2], "x").close()
"""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        words: The program and its arguments.
        makes: The file or folder that it writes.
        environment: Variables in addition to those of this process.
    """

    words: tuple[str, ...]
    makes: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, limits: Limits, temporary: Path) -> Cost:
        """Measure one run, with ``temporary`` as the folder for its temporary files."""
        environment = {**self.environment, "TMPDIR": str(temporary)}
        return measure(self.words, limits, environment, self.makes)


def has_cache() -> bool:
    """Return whether this hubopt has a cache of stages, which `--no-cache` turns off."""
    command = [sys.executable, "-m", "hubopt", "export", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return "--no-cache" in done.stdout


def hubopt(
    model: Path, targets: Sequence[str], output: Path, options: Sequence[str] = ()
) -> Command:
    """Return `hubopt export`, with verification and the layer's noise, but without latency."""
    command = (sys.executable, "-m", "hubopt", "export", str(model))
    wanted = ("--target", ",".join(targets), "--output", str(output), "--rounds", "0")
    # Without a GPU an engine cannot be run, which is not a failure of the export.
    return Command((*command, *wanted, "--allow-unverified", *options), output)


def tf2onnx(model: Path, output: Path) -> Command:
    """Return tf2onnx's command line, with `--large_model` for models that need it."""
    command = (sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(model))
    large = ("--large_model",) if weights_bytes(model) > LARGEST_MESSAGE_BYTES else ()
    return Command((*command, "--output", str(output), "--opset", OPSET, *large), output)


def tflite_converter(model: Path, output: Path) -> Command:
    """Return the script from TensorFlow's documentation, as one process."""
    return Command((sys.executable, "-c", _TFLITE, str(model), str(output)), output)


def load_alone(model: Path, output: Path) -> Command:
    """Return a script that only loads the model, as any tool that runs the layer must."""
    return Command((sys.executable, "-c", _LOAD, str(model), str(output)), output)
