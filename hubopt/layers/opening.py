"""`open_layer`: loads a located handle as a `KerasLayer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubopt.errors import HuboptError, LoadError
from hubopt.layers.layer import KerasLayer, as_layer
from hubopt.models.handles import TF1_MODULE_FILE, Handle, LayerOptions, LoadPolicy
from hubopt.models.loading import load_error, load_model
from hubopt.models.meta_graphs import MetaGraph, read_meta_graphs
from hubopt.models.weight_size import check_size, weight_size_bytes

_SERVING = "serving_default"
"""The signature that TensorFlow Serving calls."""


def open_layer(
    handle: Handle,
    options: LayerOptions,
    load_policy: LoadPolicy | None = None,
    most_bytes: int | None = None,
) -> Any:
    """Load the model behind ``handle`` as a `KerasLayer`.

    A SavedModel that is not callable is called through its only signature, or through
    ``serving_default``, as TensorFlow Serving does.

    Args:
        handle: The result of `hubopt.models.handles.locate`.
        options: Signature, output and tags.
        load_policy: The operations that are allowed in addition to the harmless ones, and the
            largest size that a file may unpack to.
        most_bytes: The largest allowed size of the weights; None for any size.

    Raises:
        LoadError: The model cannot be loaded, or it lacks the tags, signature or output.
        ExportError: According to its file, the model has larger weights. It was not loaded.
    """
    load_policy = load_policy or LoadPolicy()
    if handle.kind == "python":
        _refuse_parts(handle, options)
        return _as_layer(load_model(handle), options.output_key)
    if handle.kind == "keras":
        _refuse_parts(handle, options)
        return KerasLayer(
            handle,
            output_key=options.output_key,
            autocast=False,
            allow_ops=load_policy.allow_ops,
            limits=load_policy.limits,
        )
    signature = _choose_signature(handle, options)
    if most_bytes is not None:
        check_size(weight_size_bytes(_folder(handle), options.tags, signature), most_bytes)
    try:
        return KerasLayer(
            handle,
            tags=list(options.tags) or None,
            signature=signature,
            output_key=options.output_key,
            signature_outputs_as_dict=bool(signature and options.output_key is None) or None,
            autocast=False,
            allow_ops=load_policy.allow_ops,
            limits=load_policy.limits,
        )
    except HuboptError:
        raise
    except Exception as error:  # a damaged object graph can raise any exception anywhere
        raise load_error(handle.text, error) from error


def _as_layer(loaded: Any, output_key: str | None) -> Any:
    """Return a layer unchanged, with its own signature, hints and key; wrap other callables."""
    layer = as_layer(loaded)
    if output_key is None:
        return layer
    if layer is loaded:
        raise LoadError(
            f"output {output_key}",
            "--output-key given, but the attribute is a KerasLayer already",
            "a layer that was made with its own output_key",
            "make it with output_key, or leave the flag out",
        )
    return KerasLayer(loaded, output_key=output_key, autocast=False)


def _refuse_parts(handle: Handle, options: LayerOptions) -> None:
    given = [
        flag
        for flag, value in (("--signature", options.signature), ("--tag", options.tags))
        if value
    ]
    if given:
        raise LoadError(
            f"handle {handle.text}",
            f"{' and '.join(given)} given, but it is not a SavedModel",
            "a SavedModel, which has signatures and tags",
            "leave the flag out",
        )


def _choose_signature(handle: Handle, options: LayerOptions) -> str | None:
    graph = _choose_graph(handle, options.tags)
    name = _choose_signature_name(handle, options, graph)
    outputs = graph.signatures.get(name or "", ())
    if outputs and options.output_key is not None and options.output_key not in outputs:
        raise LoadError(
            f"output {options.output_key}",
            f"signature {name} does not have it",
            f"one of: {', '.join(outputs)}",
            f"pass --output-key with one of: {', '.join(outputs)}; or leave the flag out",
        )
    return name


def _choose_signature_name(handle: Handle, options: LayerOptions, graph: MetaGraph) -> str | None:
    available = ", ".join(graph.signatures) or "none; the model has none"
    way_out = (
        f"pass --signature with one of: {available}" if graph.signatures else "leave the flag out"
    )
    if options.signature is not None:
        if options.signature not in graph.signatures:
            raise LoadError(
                f"signature {options.signature}",
                f"not in {handle.text}",
                f"one of: {available}",
                way_out,
            )
        return options.signature
    if graph.can_be_called or (_folder(handle) / TF1_MODULE_FILE).is_file():
        return None
    if len(graph.signatures) == 1:
        return next(iter(graph.signatures))
    if _SERVING not in graph.signatures:
        raise LoadError(
            f"model {handle.text}",
            f"it cannot be called and has no signature {_SERVING}",
            f"--signature, one of: {available}",
            way_out if graph.signatures else "save it with a signature, or with a call of its own",
        )
    return _SERVING


def _folder(handle: Handle) -> Path:
    assert handle.path is not None
    return handle.path


def _choose_graph(handle: Handle, tags: tuple[str, ...]) -> MetaGraph:
    graphs = read_meta_graphs(_folder(handle))
    if not tags and len(graphs) == 1:
        return graphs[0]
    is_tf1_module = (_folder(handle) / TF1_MODULE_FILE).is_file()
    wanted = frozenset(tags)
    for graph in graphs:
        if graph.tags == wanted and (tags or is_tf1_module):
            return graph
    there = "; ".join(",".join(sorted(graph.tags)) or "(none)" for graph in graphs)
    raise LoadError(
        f"model {handle.text}",
        f"no graph with tags {', '.join(tags)}" if tags else f"{len(graphs)} graphs and no --tag",
        f"--tag with one of: {there}",
        f"repeat --tag for each tag of one of these graphs: {there}",
    )
