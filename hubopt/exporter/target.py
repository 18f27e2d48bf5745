"""A target of an export, and the task that an exporter receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubopt.exporter.options import NoOptions
from hubopt.exporter.program import Source, Tensors

FP32 = "fp32"
"""The precision that every exporter has: float32 throughout."""


@dataclass(frozen=True, slots=True)
class Target:
    """An exporter, the precision to compute in, and the exporter's own options.

    Attributes:
        exporter: The exporter's name.
        precision: One of `Exporter.precisions`.
        options: An instance of `Exporter.Options`.
    """

    exporter: str
    precision: str = FP32
    options: Any = field(default_factory=NoOptions)

    @property
    def id(self) -> str:
        """The key of results, folders, the cache and the manifest.

        >>> Target("onnx").id, Target("onnx", "int8").id
        ('onnx', 'onnx-int8')
        """
        return self.exporter if self.precision == FP32 else f"{self.exporter}-{self.precision}"

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class ExportTask:
    """The description of one artifact that an exporter has to write.

    Attributes:
        source: The traced program, or the artifact of `Exporter.source`.
        path: Where to write; nothing exists there yet.
        target: The target, with its precision and options.
        calibration: Samples to calibrate on, drawn separately from those that verify the
            artifact; None for float32.
    """

    source: Source
    path: Path
    target: Target
    calibration: Sequence[Tensors] | None = None
