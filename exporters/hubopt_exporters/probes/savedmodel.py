"""Read any tensor of a SavedModel's signature, frozen so that the functions in it are inlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubopt._util.plain_paths import plain_path
from hubopt.exporter import Artifact, Tensors
from hubopt.programs.graphs.compiled_graph import CompiledGraph
from hubopt.programs.graphs.graph_runs import GraphRunner


class SavedModelProbe:
    """Reads tensors of ``serving_default``.

    Attributes:
        inputs: The graph's tensor for each input of the layer.
        outputs: The graph's tensor for each output of the layer.
        script: Empty, because a part of a SavedModel does not run by itself.
        how: A text that says how the model is run.
    """

    script = ""

    def __init__(self, artifact: Artifact) -> None:
        import tensorflow as tf

        from hubopt.programs.graphs.freezing import freeze
        from hubopt.programs.serving import SIGNATURE, is_compiled

        with plain_path(artifact.path) as path:
            self._loaded = tf.saved_model.load(str(path))  # owns the variables
        concrete = self._loaded.signatures[SIGNATURE]
        frozen = freeze(concrete)
        self._graph = frozen.graph
        self._weights = frozenset(frozen.weights)
        arguments = sorted(concrete.structured_input_signature[1])
        tensors = dict(zip(arguments, frozen.inputs, strict=True))
        results = dict(zip(sorted(concrete.structured_outputs), frozen.outputs, strict=True))
        self.inputs = {spec.name: tensors[spec.argument].name for spec in artifact.spec.inputs}
        self.outputs = {spec.name: results[spec.name].name for spec in artifact.spec.outputs}
        compiled = is_compiled(self._loaded)
        self.how = "TensorFlow, " + ("compiled by XLA" if compiled else "not compiled")
        kind = CompiledGraph if compiled else GraphRunner
        self._runner = kind(frozen.graph.as_graph_def(), self.inputs, frozen.weights)

    def tensors(self) -> list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]]:
        """Return name, shape, operation and inputs of each tensor, in topological order."""
        given = set(self.inputs.values())
        return [
            (
                tensor.name,
                None if tensor.shape.rank is None else tuple(tensor.shape.as_list()),
                "" if tensor.name in given else operation.type,
                tuple(read.name for read in operation.inputs),
            )
            for operation in self._graph.get_operations()
            if operation.type != "Const" and operation.name not in self._weights
            for tensor in operation.outputs
        ]

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Any]:
        """Return the tensors ``names`` for one sample of the layer's inputs."""
        return dict(zip(names, self._runner.run(inputs, list(names)), strict=True))

    def cut(self, inputs: Mapping[str, Any], output: str, path: Path) -> None:
        """Not supported, see ``script``."""
        raise NotImplementedError
