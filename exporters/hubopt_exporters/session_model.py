"""Write a program's frozen graph as a TensorFlow 1 SavedModel, without writing its weights.

TFLite's converter accepts such a model with variables. It needs far less for this than for the
same graph with its weights as constants, because it copies constants at every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hubopt.exporter import Program
from hubopt.programs.graphs.branching import replace_cases
from hubopt.programs.graphs.frozen_graph import FrozenGraph, read_frozen_graph
from hubopt.programs.graphs.variables import read_variable
from hubopt.programs.serving import SIGNATURE
from hubopt.spec import TensorSpec

_RESTORE = "hubopt/restore"
_MODEL = "saved_model.pb"


def write_session_model(program: Program, folder: Path) -> None:
    """Write the graph of ``program`` with the signature ``serving_default``.

    Its variables are restored from the program's own weights, so the model can be used only as
    long as the program exists.

    Args:
        program: A program with a frozen graph.
        folder: Where to write; it must not exist yet.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append(tf.saved_model.SERVING)
    frozen = read_frozen_graph(program)
    meta.graph_def.CopyFrom(frozen.graph_def)
    replace_cases(meta.graph_def)
    signature = meta.signature_def[SIGNATURE]
    signature.method_name = tf.saved_model.PREDICT_METHOD_NAME
    for spec, tensor in zip(program.spec.inputs, program.input_tensors, strict=True):
        _fill_tensor_info(signature.inputs[spec.argument], spec, tensor)
    for spec, tensor in zip(program.spec.outputs, program.output_tensors, strict=True):
        _fill_tensor_info(signature.outputs[spec.name], spec, tensor)
    folder.mkdir()
    if frozen.weights:
        unread = _add_restoring(meta.graph_def, frozen)
        meta.saver_def.filename_tensor_name = meta.saver_def.save_tensor_name = unread
        meta.saver_def.restore_op_name = _RESTORE
        # The loader restores only if there is an index file. Ours is not read.
        (folder / "variables").mkdir()
        (folder / "variables" / "variables.index").touch()
    (folder / _MODEL).write_bytes(model.SerializeToString())


def _fill_tensor_info(info: Any, spec: TensorSpec, tensor: str) -> None:
    import tensorflow as tf

    info.name = tensor
    info.dtype = tf.as_dtype(spec.dtype).as_datatype_enum
    info.tensor_shape.CopyFrom(tf.TensorShape(spec.open_shape).as_proto())


def _add_restoring(graph_def: Any, frozen: FrozenGraph) -> str:
    """Make placeholders read variables, and add the nodes that restore all the variables.

    Returns:
        A tensor into which a loader may feed the name of a checkpoint; nothing reads it.
    """
    restore = graph_def.node.add(name=_RESTORE, op="NoOp")
    by_checkpoint: dict[Path, list[Any]] = {}
    for node in list(graph_def.node):
        if node.name in frozen.weights:
            by_checkpoint.setdefault(frozen.weights[node.name].checkpoint, []).append(node)
    for at, (checkpoint, nodes) in enumerate(by_checkpoint.items()):
        source = f"{_RESTORE}/{at}"
        keys = [frozen.weights[node.name].key for node in nodes]
        read = graph_def.node.add(name=source, op="RestoreV2")
        read.input.extend(
            (
                _texts(graph_def, f"{source}/checkpoint", str(checkpoint)),
                _texts(graph_def, f"{source}/keys", keys),
                _texts(graph_def, f"{source}/slices", [""] * len(keys)),
            )
        )
        read.attr["dtypes"].list.type.extend(node.attr["dtype"].type for node in nodes)
        for place, node in enumerate(nodes):
            restore.input.append(f"^{read_variable(graph_def, node, f'{source}:{place}')}")
    return f"{_texts(graph_def, f'{_RESTORE}/unread', '')}:0"


def _texts(graph_def: Any, name: str, value: str | Iterable[str]) -> str:
    """Add a string constant; return its name."""
    import tensorflow as tf

    node = graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.string))
    return name


def link_saved_model(source: Path, folder: Path) -> None:
    """Write a SavedModel for TFLite's converter that shares the files of ``source``.

    It is for programs with lookup tables, which are not part of a frozen graph. TFLite has no
    operation EnsureShape, with which such a SavedModel states the shapes of its outputs.

    Args:
        source: A program's SavedModel.
        folder: Where to write; it must not exist yet.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    folder.mkdir()
    for path in source.iterdir():
        if path.name != _MODEL:
            (folder / path.name).symlink_to(path.absolute())
    model = saved_model_pb2.SavedModel.FromString((source / _MODEL).read_bytes())
    for meta in model.meta_graphs:
        library = meta.graph_def.library.function
        nodes = [*meta.graph_def.node, *(node for body in library for node in body.node_def)]
        for node in nodes:
            if node.op == "EnsureShape":
                node.op = "Identity"
                node.attr.pop("shape")
    (folder / _MODEL).write_bytes(model.SerializeToString())
