"""An artifact that is loaded in its own runtime, to run samples and to be timed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hubopt import registry
from hubopt.errors import NotRunnableHereError, UsageError
from hubopt.exporter import Artifact
from hubopt.latency.session import Session, since
from hubopt.runs.renaming import load_runner
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.spec import ModelSpec


class ArtifactSession(Session):
    """An artifact in its own runtime.

    Args:
        artifact: The artifact.
        names: The artifact's name for each tensor that the layer names differently.
        allow_ops: Operations that a SavedModel may contain although they have side effects.

    Raises:
        NotRunnableHereError: The runtime is missing, or the machine cannot run it.
        UnsafeModelError: The artifact could do more than compute; it was not loaded.
        ExportError: The artifact does not load.
    """

    def __init__(
        self,
        artifact: Artifact,
        names: Mapping[str, str] | None = None,
        allow_ops: Collection[str] = (),
    ) -> None:
        try:
            exporter = registry.get(artifact.exporter)
        except UsageError as error:  # a bundle may come from a machine with more exporters
            raise NotRunnableHereError(*error.args) from error
        registry.require_runtime(exporter)
        start = time.perf_counter()
        for requirement in exporter.runs_with:
            importlib.import_module(next(filter(registry.is_installed, requirement.modules)))
        import_ms = since(start)
        start = time.perf_counter()
        runner = load_runner(exporter, artifact, names, allow_ops)
        super().__init__(import_ms, since(start))
        self._runner = runner

    def answer(self, spec: ModelSpec, inputs: Path, outputs: Path, numbers: Sequence[int]) -> None:
        """Run the samples of ``inputs`` with these numbers; write the outputs to ``outputs``."""
        self._samples = read_samples(inputs, spec.inputs, numbers)
        answers = [self._run(dict(sample)) for sample in self._samples]
        write_samples(outputs, dict(zip(numbers, answers, strict=True)))
