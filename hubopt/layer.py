"""`KerasLayer`, and how a handle becomes one.

Importing this module imports TensorFlow: `hubopt.KerasLayer` does so when first used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tensorflow_hub as hub
from numpy.typing import NDArray

from hubopt.errors import LoadError
from hubopt.exporter import Tensors
from hubopt.handles import TF1_MODULE_FILE, Handle, LayerOptions
from hubopt.serving import SIGNATURE
from hubopt.spec import ModelSpec
from hubopt.structure import pack, unpack
from hubopt.tf_private import MetaGraph, read_meta_graphs, switch_autocast_off

_KERAS_HEADING = "Exception encountered when calling"
_AUTOGRAPH_HEADING = "in user code:"


class KerasLayer(hub.KerasLayer):  # type: ignore[misc]  # tensorflow_hub is untyped
    """A drop-in for `hub.KerasLayer` that also takes a `pathlib.Path`.

    Takes `hub.KerasLayer`'s arguments, by position and by name.
    """

    def __init__(self, handle: Any, *args: Any, **kwargs: Any) -> None:
        handle = os.fspath(handle) if isinstance(handle, os.PathLike) else handle
        super().__init__(handle, *args, **kwargs)
        # tf_keras gives every layer a dtype, so whether it was a hint is only known here.
        self._dtype_hint = tf.as_dtype(kwargs["dtype"]).name if kwargs.get("dtype") else None

    @property
    def dtype_hint(self) -> str | None:
        """The ``dtype`` given to the constructor, or None."""
        return self._dtype_hint


def as_layer(model: Any) -> Any:
    """Return a layer as it is, and any other callable wrapped as one."""
    if isinstance(model, hub.KerasLayer):
        return model
    layer = KerasLayer(model)
    switch_autocast_off(layer)
    return layer


def open_layer(handle: Handle, options: LayerOptions) -> KerasLayer:
    """Load the model behind ``handle`` as a layer.

    A SavedModel that is not callable and has the signature ``serving_default`` is called
    through it, as TensorFlow Serving does.

    Raises:
        LoadError: TensorFlow cannot load it, or it lacks the tags, signature or output.
    """
    try:
        signature = _choose_signature(handle, options)
        as_dict = True if signature is not None and options.output_key is None else None
        layer = KerasLayer(
            str(handle.folder),
            tags=list(options.tags) or None,
            signature=signature,
            output_key=options.output_key,
            signature_outputs_as_dict=as_dict,
        )
    except LoadError:
        raise
    except Exception as error:  # TensorFlow's loader raises nearly every type there is
        raise LoadError(
            f"model {handle.text}",
            f"TensorFlow cannot load it: {type(error).__name__}: {first_line(error)}",
            "a complete SavedModel",
            "check that every file is there and whole, variables/ included; save the model again",
        ) from error
    switch_autocast_off(layer)
    return layer


def _choose_signature(handle: Handle, options: LayerOptions) -> str | None:
    graph = _choose_graph(handle, options.tags)
    name = _choose_signature_name(handle, options, graph)
    outputs = graph.signatures.get(name or "", ())
    if outputs and options.output_key is not None and options.output_key not in outputs:
        raise LoadError(
            f"output {options.output_key}",
            f"signature {name} does not have it",
            f"one of: {', '.join(outputs)}",
            "pass one of these to --output-key, or leave the flag out",
        )
    return name


def _choose_signature_name(handle: Handle, options: LayerOptions, graph: MetaGraph) -> str | None:
    there = ", ".join(graph.signatures) or "none; the model has none"
    if options.signature is not None:
        if options.signature not in graph.signatures:
            raise LoadError(
                f"signature {options.signature}",
                f"not in {handle.text}",
                f"one of: {there}",
                "pass one of these to --signature, or leave the flag out",
            )
        return options.signature
    if graph.can_be_called or (handle.folder / TF1_MODULE_FILE).is_file():
        return None
    if SIGNATURE not in graph.signatures:
        raise LoadError(
            f"model {handle.text}",
            f"it cannot be called and has no signature {SIGNATURE}",
            f"--signature, one of: {there}",
            "name the signature to export",
        )
    return SIGNATURE


def _choose_graph(handle: Handle, tags: tuple[str, ...]) -> MetaGraph:
    graphs = read_meta_graphs(handle.folder)
    if not tags and len(graphs) == 1:
        return graphs[0]
    is_tf1_module = (handle.folder / TF1_MODULE_FILE).is_file()
    wanted = frozenset(tags)
    for graph in graphs:
        if graph.tags == wanted and (tags or is_tf1_module):
            return graph
    raise LoadError(
        f"model {handle.text}",
        f"no graph with tags {', '.join(tags)}" if tags else f"{len(graphs)} graphs and no --tag",
        "--tag with one of: "
        + "; ".join(",".join(sorted(graph.tags)) or "(none)" for graph in graphs),
        "repeat --tag for each tag of the graph you want",
    )


def first_line(error: BaseException) -> str:
    """Return the telling line of an error's text, below the headings of Keras and AutoGraph."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_KERAS_HEADING)]
    if telling and telling[0] == _AUTOGRAPH_HEADING:  # a traceback follows, the error ends it
        telling = [line for line in telling if re.match(r"\w*(Error|Exception): ", line)] or telling
    return telling[0] if telling else type(error).__name__


def infer(layer: Callable[..., Any], spec: ModelSpec, tensors: Tensors) -> dict[str, Any]:
    """Call ``layer`` in inference mode with tensors by name; return its outputs by name."""
    return unpack(spec.output_structure, layer(pack(spec.input_structure, tensors), training=False))


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 as float32 on a GPU: TF32 would lose 13 bits of each product."""
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)


class LayerRunner:
    """The eager layer as a `hubopt.exporter.Runner`: the reference and the baseline.

    Arrays go in and arrays come out, as for every artifact.
    """

    def __init__(self, layer: Callable[..., Any], spec: ModelSpec) -> None:
        self._layer = layer
        self._spec = spec
        self.device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Call the layer eagerly."""
        tensors = {
            spec.name: tf.constant(inputs[spec.name], dtype=spec.dtype)
            for spec in self._spec.inputs
        }
        outputs = infer(self._layer, self._spec, tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}
