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
    """Wraps a runner that uses the artifact's names; takes and returns the layer's names.

    Args:
        runner: The runner to wrap.
        inputs: The artifact's name for each input that the layer names differently.
        outputs: Likewise for outputs.
    """

    def __init__(
        self, runner: Runner, inputs: Mapping[str, str], outputs: Mapping[str, str]
    ) -> None:
        self._runner = runner
        self._inputs = inputs
        self._layer_names = {theirs: ours for ours, theirs in outputs.items()}
        self.device = runner.device

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Run with the inputs renamed; rename the outputs back."""
        given = {self._inputs.get(name, name): array for name, array in inputs.items()}
        outputs = self._runner.run(given)
        return {self._layer_names.get(name, name): array for name, array in outputs.items()}


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
        names: The artifact's name for each tensor that the layer names differently. A name that an
            input and an output of the layer share stands for the output.
        allow_ops: Operations that a SavedModel may contain although they have side effects.

    Raises:
        UnsafeModelError: The artifact could do more than compute.
    """
    scan_artifact(artifact.path, allow_ops)
    if not names:
        return exporter.runner(artifact)
    inputs, outputs = _by_side(artifact.spec, names)
    renamed = replace(artifact, spec=_renamed(artifact.spec, inputs, outputs))
    return RenamedRunner(exporter.runner(renamed), inputs, outputs)


def _by_side(spec: ModelSpec, names: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    outputs = {ours: theirs for ours, theirs in names.items() if ours in spec.output_names}
    inputs = {ours: theirs for ours, theirs in names.items() if ours not in outputs}
    return inputs, outputs


def _renamed(spec: ModelSpec, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> ModelSpec:
    return replace(
        spec,
        inputs=_named(spec.inputs, inputs),
        outputs=_named(spec.outputs, outputs),
        input_structure=_nested(spec.input_structure, inputs),
        output_structure=_nested(spec.output_structure, outputs),
    )


def _named(specs: tuple[TensorSpec, ...], names: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    return tuple(replace(tensor, name=names.get(tensor.name, tensor.name)) for tensor in specs)


def _nested(structure: Structure, names: Mapping[str, str]) -> Structure:
    return pack(structure, {name: names.get(name, name) for name in leaves(structure)})
