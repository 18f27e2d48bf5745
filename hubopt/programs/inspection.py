"""What `hubopt inspect` reports about a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt._util.html_table import html_table
from hubopt._util.short_repr import short_repr
from hubopt.errors import SpecError, TraceError
from hubopt.exporter import Obstacle, OpUse
from hubopt.hints import Hints
from hubopt.layers.interface import Kind, tensor_kind
from hubopt.spec import MaybeShape, ModelSpec, format_shape


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the model declares it.

    Attributes:
        name: Its name.
        dtype: TensorFlow's name of the dtype; None if undeclared.
        shape: None for unknown rank, None for each unknown dimension.
        kind: ``dense``, or ``ragged`` or ``sparse``, of which no target takes one.
    """

    name: str
    dtype: str | None
    shape: MaybeShape | None
    kind: Kind = "dense"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a SavedModel."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A loaded layer, described without any guess.

    Attributes:
        signature: The signature that is called; None for the model's own call.
        signatures: Every signature of the model.
        declared: The declared inputs of that signature or call.
        outputs: The outputs for the declared inputs if the layer can be traced with them, else
            for the resolved inputs.
        spec: Inputs and outputs with the origin of each dimension; None if some are unresolved.
        problems: Why ``spec`` is None, with the flag that would settle each problem.
        parameters: How many elements its variables hold in total; None if it could not be
            traced.
        parameters_bytes: Their size in bytes.
        ops: Every operation of the graph.
    """

    signature: str | None
    signatures: tuple[Signature, ...]
    declared: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    spec: ModelSpec | None
    problems: tuple[str, ...]
    parameters: int | None
    parameters_bytes: int | None
    ops: tuple[OpUse, ...]

    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model and the operations that each target lacks for it.

    Attributes:
        handle: The URL, the folder's absolute path, or the name of a callable.
        digest: SHA-256 of the model; None for a callable.
        model: The model.
        obstacles: By target, the operations that it does not support; empty if none is known.
    """

    handle: str
    digest: str | None
    model: OpenModel
    obstacles: Mapping[str, Sequence[Obstacle]]

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        rows = [
            (side, tensor.name, tensor.dtype or "?", _shape_text(tensor.shape))
            for side, tensors in (("in", self.model.declared), ("out", self.model.outputs))
            for tensor in tensors
        ]
        notes = [f"open: {problem}" for problem in self.model.problems]
        notes += [
            f"{target}: {'; '.join(map(str, found)) or 'no operation is known to block it'}"
            for target, found in self.obstacles.items()
        ]
        return html_table(self.handle, ("", "name", "dtype", "declared shape"), rows, notes)


def _shape_text(shape: MaybeShape | None) -> str:
    return "unknown rank" if shape is None else format_shape(shape)


def inspect_layer(layer: Any, hints: Hints) -> OpenModel:
    """Describe ``layer``, a `hubopt.KerasLayer`; imports TensorFlow."""
    import tensorflow as tf

    from hubopt._platform.tf_private import layer_signature
    from hubopt.layers.interface import read_interface
    from hubopt.programs.shaping.outputs import trace_outputs
    from hubopt.programs.shaping.shapes import resolve
    from hubopt.programs.tracing import survey

    interface = read_interface(layer)
    spec: ModelSpec | None = None
    problems: tuple[str, ...] = ()
    try:
        spec = resolve(layer, hints)
    except SpecError as error:
        problems = error.problems
    declared = [
        (tensor.name, tensor.shape, tensor.dtype if tensor.kind == "dense" else None)
        for tensor in interface.inputs
    ]
    settled = (
        [(tensor.name, tensor.open_shape, tensor.dtype) for tensor in spec.inputs] if spec else []
    )
    outputs: dict[str, Any] = {}
    graph = None
    for inputs in (declared, settled):
        if not inputs or any(dtype is None for *_, dtype in inputs):
            continue
        signature = [tf.TensorSpec(shape, dtype, name) for name, shape, dtype in inputs]
        try:
            if not outputs:
                _, outputs = trace_outputs(layer, interface, signature)
            graph = survey(layer, interface.structure, signature)
        except TraceError:
            if inputs is settled:
                raise
            # A model with open dimensions need not be traceable; ``problems`` says what is open.
    return OpenModel(
        signature=layer_signature(layer),
        signatures=_signatures(layer.resolved_object),
        declared=tuple(
            Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.kind)
            for tensor in interface.inputs
        ),
        outputs=_tensors(outputs),
        spec=spec,
        problems=problems,
        parameters=graph.parameters if graph else None,
        parameters_bytes=graph.parameters_bytes if graph else None,
        ops=graph.ops if graph else (),
    )


def _signatures(loaded: Any) -> tuple[Signature, ...]:
    return tuple(
        Signature(
            name,
            _tensors(function.structured_input_signature[1]),
            _tensors(function.structured_outputs),
        )
        for name, function in sorted(getattr(loaded, "signatures", {}).items())
    )


def _tensors(specs: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name,
            spec.dtype.name,
            None if spec.shape.rank is None else tuple(spec.shape.as_list()),
            tensor_kind(spec),
        )
        for name, spec in sorted(specs.items())
    )
