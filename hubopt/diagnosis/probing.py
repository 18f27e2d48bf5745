"""Read any tensor of an artifact through its exporter's probe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubopt import registry
from hubopt.diagnosis.names import Tensor
from hubopt.errors import NotRunnableHereError
from hubopt.exporter import Artifact, Probe
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.scanning.artifacts import scan_artifact


class Probed:
    """An artifact with its probe; it lives in a child process.

    Args:
        artifact: The artifact to read.
        allow_ops: Operations that a SavedModel may contain although they reach outside of it.

    Raises:
        NotRunnableHereError: The target has no probe, or its runtime is not installed.
        UnsafeModelError: The artifact could do more than compute.
        ExportError: The artifact does not load.
    """

    def __init__(self, artifact: Artifact, allow_ops: Collection[str] = ()) -> None:
        exporter = registry.get(artifact.exporter)
        probe = getattr(exporter, "probe", None)
        if probe is None:
            raise NotRunnableHereError(
                f"{artifact.exporter} artifact",
                "its exporter does not read intermediate tensors",
                "an exporter with a probe, such as onnx, tflite or savedmodel",
                "diagnose another target of the bundle",
            )
        registry.require_runtime(exporter)
        scan_artifact(artifact.path, allow_ops)
        self._spec = artifact.spec
        self._probe: Probe = probe(artifact)

    def tensors(self) -> list[Tensor]:
        """Return every tensor in topological order."""
        return [Tensor(*tensor) for tensor in self._probe.tensors()]

    def interface(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the artifact's tensor for each input and each output of the layer."""
        return dict(self._probe.inputs), dict(self._probe.outputs)

    def how(self) -> str:
        """Return a description of how the artifact is run."""
        return self._probe.how

    def script(self) -> str:
        """Return the function that runs a part of the model without hubopt."""
        return self._probe.script

    def answer(
        self, inputs: Path, samples: Sequence[int], names: Sequence[str], outputs: Path
    ) -> None:
        """Write the tensors ``names`` of some samples to ``outputs``."""
        given = read_samples(inputs, self._spec.inputs)
        answers = []
        for at in samples:
            found = self._probe.run(given[at], names)
            answers.append({name: _plain(found[name]) for name in names})
        write_samples(outputs, answers)

    def cut(self, inputs: Path, output: str, path: Path) -> None:
        """Write the part of the model from the tensors in the file ``inputs`` to ``output``."""
        with np.load(inputs, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        self._probe.cut(arrays, output, path)


def _plain(array: Any) -> Any:
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.name in ("bfloat16", "float16") else array
