"""A loaded artifact, which is called like the layer."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt import registry
from hubopt._platform.quiet_import import import_tensorflow
from hubopt._platform.resources import translate_resource_errors
from hubopt._util.dtypes import numpy_dtype
from hubopt._util.structure import pack, unpack
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.errors import UsageError
from hubopt.exporter import Runner, Tensors
from hubopt.runs.renaming import load_runner
from hubopt.spec import ModelSpec, TensorSpec, format_shape


class LoadedArtifact:
    """A callable with the inputs and outputs of the layer, as NumPy arrays.

    Attributes:
        spec: The inputs and outputs.
    """

    def __init__(self, runner: Runner, spec: ModelSpec) -> None:
        self._runner = runner
        self.spec = spec

    def __call__(self, inputs: Any = None, /, **named: Any) -> Any:
        """Run on inputs; return outputs packed like the layer's.

        Args:
            inputs: The inputs packed like the layer's, or a mapping of them by name.
            **named: The inputs by name, instead.

        Raises:
            UsageError: An input has another shape, or a dtype that would change its values; or
                inputs are given in both ways.
            ValueError: The inputs are packed differently.
        """
        given = self._by_name(inputs, named)
        arrays = {spec.name: _as_array(given[spec.name], spec) for spec in self.spec.inputs}
        return pack(self.spec.output_structure, self._runner.run(arrays))

    def _by_name(self, inputs: Any, named: dict[str, Any]) -> dict[str, Any]:
        names = {spec.name for spec in self.spec.inputs}
        if named and inputs is not None:
            raise UsageError(
                "inputs",
                f"inputs, and {', '.join(named)} by name",
                "all in one argument, or all by name",
                f"pass {', '.join(f'{name}=...' for name in sorted(names))}",
            )
        given = named or inputs
        if isinstance(given, Mapping) and {str(name) for name in given} == names:
            return {str(name): array for name, array in given.items()}
        if named:
            raise UsageError(
                "inputs",
                ", ".join(sorted(named)),
                ", ".join(sorted(names)),
                "pass every input by its own name",
            )
        return unpack(self.spec.input_structure, inputs)

    def __repr__(self) -> str:
        return f"LoadedArtifact on {self._runner.device}: {self.spec!r}"

    @property
    def device(self) -> str:
        """The device it runs on."""
        return self._runner.device

    def answer(self, inputs: Tensors) -> dict[str, Any]:
        """Run on arrays by name; return the outputs by name."""
        return self._runner.run(inputs)


def _as_array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    """Return ``value`` as an array that fits ``spec``; only the width of its numbers may change."""
    array = np.asarray(value)
    dtype = numpy_dtype(spec.dtype)
    if not spec.admits(array.shape) or not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise UsageError(
            f"input {spec.name}",
            f"{array.dtype.name} {format_shape(array.shape)}",
            f"{spec.dtype} {format_shape(spec.named_shape)}",
            "pass that, or export for these inputs",
        )
    return array.astype(dtype, copy=False)


def load(
    bundle: Bundle | str | os.PathLike[str], target: str, allow_ops: Collection[str] = ()
) -> LoadedArtifact:
    """Load a target's artifact from a bundle in this process.

    Args:
        bundle: A bundle or its folder.
        target: The target, such as ``onnx``.
        allow_ops: Operations that a SavedModel may have although they reach outside the model.

    Raises:
        BundleError: The bundle has no such artifact, or it has changed.
        UnsafeModelError: The artifact could do more than compute.
        NotRunnableHereError: This machine cannot run it.
        ResourceError: The machine ran out of a resource.
    """
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    artifact = opened.artifact(target)
    if any("tensorflow" in needed.modules for needed in registry.get(artifact.exporter).runs_with):
        import_tensorflow()
    with translate_resource_errors():
        runner = load_runner(registry.get(target), artifact, allow_ops=allow_ops)
    return LoadedArtifact(runner, artifact.spec)
