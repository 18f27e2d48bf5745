"""Export a TensorFlow Hub handle to an artifact that is proved equal to it.

In a script::

    import hubopt

    bundle = hubopt.export("path/to/model", ["onnx", "tflite"], "out")
    for result in bundle.results:
        print(result.target, result.status)

Importing hubopt imports no TensorFlow; the first use of `KerasLayer` does.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubopt import registry
from hubopt._platform.quiet_import import import_tensorflow
from hubopt._util.version import __version__
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.results import TargetResult
from hubopt.errors import HuboptError
from hubopt.exporter import Program, Target, XlaMode
from hubopt.exporting.pipeline import export, inspect
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.models.limits import Limits
from hubopt.parity import Parity, ToleranceOverrides
from hubopt.runs.trust import Trust
from hubopt.spec import Bounds, Dim, ModelSpec, TensorSpec
from hubopt.verification.recheck import bench, rejudge, verify_bundle

if TYPE_CHECKING:
    from hubopt.diagnosis.diagnose import Diagnosis, diagnose
    from hubopt.layers.layer import KerasLayer
    from hubopt.verification.comparison import verify

_LATER = {
    "Diagnosis": "hubopt.diagnosis",
    "diagnose": "hubopt.diagnosis",
    "verify": "hubopt.verification.comparison",
}
"""Rarely used names and their modules, imported on first use.

A repeated export must take less than a second, so it does not import them.
"""

__all__ = [
    "Bounds",
    "Bundle",
    "Diagnosis",
    "Dim",
    "Hints",
    "HuboptError",
    "KerasLayer",
    "LayerOptions",
    "Limits",
    "LoadPolicy",
    "ModelSpec",
    "Parity",
    "Program",
    "Target",
    "TargetResult",
    "TensorSpec",
    "ToleranceOverrides",
    "Trust",
    "__version__",
    "bench",
    "diagnose",
    "export",
    "inspect",
    "load",
    "rejudge",
    "resolve",
    "trace",
    "verify",
    "verify_bundle",
]


def load(
    bundle: Bundle | str | os.PathLike[str], target: str, allow_ops: Collection[str] = ()
) -> Any:
    """Load a target's artifact from a bundle; it is called like the layer.

    Args:
        bundle: A bundle or its folder.
        target: The target, such as ``onnx``.
        allow_ops: Operations that a SavedModel may have although they reach outside the model.

    Returns:
        A `hubopt.verification.loaded.LoadedArtifact`.
    """
    from hubopt.verification.loaded import load as _load

    return _load(bundle, target, allow_ops)


def resolve(layer: Any, hints: Hints | None = None, data: Any = None) -> ModelSpec:
    """Determine the shape and dtype of every input and output of a layer or callable.

    See `hubopt.programs.shaping.shapes.resolve`.
    """
    registry.require_layer()
    import_tensorflow()
    from hubopt.layers.layer import as_layer
    from hubopt.programs.shaping.shapes import resolve as _resolve

    return _resolve(as_layer(layer), hints, data)


def trace(
    layer: Any, spec: ModelSpec, folder: Path | None = None, xla: XlaMode = "auto"
) -> Program:
    """Trace a layer or callable with static shapes in inference mode.

    See `hubopt.programs.tracing.trace`.
    """
    registry.require_layer()
    import_tensorflow()
    from hubopt.layers.layer import as_layer
    from hubopt.programs.tracing import trace as _trace

    return _trace(as_layer(layer), spec, folder, xla)


def __getattr__(name: str) -> Any:
    if name == "KerasLayer":
        registry.require_layer()
        import_tensorflow()
        from hubopt.layers.layer import KerasLayer

        return KerasLayer
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'hubopt' has no attribute {name!r}")
