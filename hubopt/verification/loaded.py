"""An artifact that is called as the layer is."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt import registry
from hubopt._platform.resources import translate_resource_errors
from hubopt._util.dtypes import numpy_dtype
from hubopt._util.structure import pack, unpack
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.errors import UsageError
from hubopt.exporter import Runner
from hubopt.runs.renaming import load_runner
from hubopt.spec import ModelSpec, TensorSpec, format_shape


class LoadedArtifact:
    """Takes what the layer takes and gives what the layer gives, as NumPy arrays.

    Attributes:
        spec: The inputs and outputs.
    """

    def __init__(self, runner: Runner, spec: ModelSpec) -> None:
        self._runner = runner
        self.spec = spec

    def __call__(self, inputs: Any) -> Any:
        """Run on ``inputs``, packed as the layer takes them; return outputs packed as its own.

        Raises:
            UsageError: An input has another shape, or a dtype that would change its values.
            ValueError: The inputs are packed otherwise.
        """
        given = unpack(self.spec.input_structure, inputs)
        arrays = {spec.name: _as_array(given[spec.name], spec) for spec in self.spec.inputs}
        return pack(self.spec.output_structure, self._runner.run(arrays))

    def __repr__(self) -> str:
        return f"LoadedArtifact on {self._runner.device}\n{self.spec}"


def _as_array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    """Return ``value`` as the input ``spec``; only the width of its numbers may change."""
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
        target: Such as ``onnx``.
        allow_ops: Operations that a SavedModel may have although they reach outside of it.

    Raises:
        BundleError: The bundle has no such artifact, or it has changed.
        UnsafeModelError: The artifact could do more than compute.
        NotRunnableHereError: This machine cannot run it.
        ResourceError: The machine ran out of something.
    """
    opened = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    artifact = opened.artifact(target)
    with translate_resource_errors():
        runner = load_runner(registry.get(target), artifact, allow_ops=allow_ops)
    return LoadedArtifact(runner, artifact.spec)
