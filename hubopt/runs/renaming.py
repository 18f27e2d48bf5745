"""Artifacts of other tools, whose tensor names differ from the layer's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from hubopt._util.structure import Structure, leaves, pack
from hubopt.exporter import Artifact, Exporter, Runner, Tensors
from hubopt.scanning.artifacts import scan_artifact
from hubopt.spec import ModelSpec, TensorSpec


class RenamedRunner:
    """Wraps a runner that uses the artifact's names; takes and returns the layer's names."""

    def __init__(self, runner: Runner, names: Mapping[str, str]) -> None:
        self._runner = runner
        self._names = names
        self._back = {theirs: ours for ours, theirs in names.items()}
        self.device = runner.device

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Run with the inputs renamed; rename the outputs back."""
        given = {self._names.get(name, name): array for name, array in inputs.items()}
        outputs = self._runner.run(given)
        return {self._back.get(name, name): array for name, array in outputs.items()}


def load_runner(
    exporter: Exporter,
    artifact: Artifact,
    names: Mapping[str, str] | None = None,
    allow_ops: Collection[str] = (),
) -> Runner:
    """Scan ``artifact`` and load it.

    Args:
        exporter: The exporter whose runtime runs it.
        artifact: The artifact.
        names: The artifact's name for each tensor that the layer names differently.
        allow_ops: Operations that a SavedModel may contain although they have side effects.

    Raises:
        UnsafeModelError: The artifact could do more than compute.
    """
    scan_artifact(artifact.path, allow_ops)
    if not names:
        return exporter.runner(artifact)
    renamed = replace(artifact, spec=_renamed(artifact.spec, names))
    return RenamedRunner(exporter.runner(renamed), names)


def _renamed(spec: ModelSpec, names: Mapping[str, str]) -> ModelSpec:
    def tensors(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in specs)

    def nest(structure: Structure) -> Structure:
        return pack(structure, {name: names.get(name, name) for name in leaves(structure)})

    return replace(
        spec,
        inputs=tensors(spec.inputs),
        outputs=tensors(spec.outputs),
        input_structure=nest(spec.input_structure),
        output_structure=nest(spec.output_structure),
    )
