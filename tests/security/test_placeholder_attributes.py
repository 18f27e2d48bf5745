"""Attributes that a function's caller fills in: an unreadable value counts as the worst case."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from hubopt.scanning.scan import scan
from tests.security.models import FLOATS, STRING, edit, members, refuse, save

INTEGER = tf.TensorSpec([], tf.int64)


def fill_in(meta_graph: Any, op: str, attribute: str, value: bytes) -> None:
    """Make an attribute a placeholder and set ``value`` in every call of the function."""
    for function, node in members(meta_graph, op):
        node.attr[attribute].placeholder = "secret"
        function.signature.attr.add(name="secret", type="string")
        for caller in meta_graph.graph_def.library.function:
            for call in caller.node_def:
                if call.attr["f"].func.name == function.signature.name:
                    call.attr["f"].func.attr["secret"].s = value


def print_it(x: Any) -> Any:
    tf.print(x)
    return x


def debug(x: Any) -> Any:
    return tf.raw_ops.DebugIdentityV2(input=x, debug_urls=[])


def sample(x: Any) -> Any:
    return tf.raw_ops.FixedUnigramCandidateSampler(
        true_classes=x[None, None], num_true=1, num_sampled=1, unique=True, range_max=2,
        unigrams=[1.0, 1.0],
    ).sampled_candidates  # fmt: skip


@pytest.mark.parametrize(
    ("op", "attribute", "value", "function", "spec"),
    [
        ("PrintV2", "output_stream", b"file:///tmp/stolen", print_it, STRING),
        ("DebugIdentityV2", "debug_urls", b"grpc://elsewhere", debug, FLOATS),
        ("FixedUnigramCandidateSampler", "vocab_file", b"/etc/hostname", sample, INTEGER),
    ],
)
@pytest.mark.parametrize("filled", ["placeholder", "nothing", "another type"])
def test_an_attribute_that_is_not_a_literal_is_dangerous(
    op: str, attribute: str, value: bytes, function: Any, spec: Any, filled: str, tmp_path: Path
) -> None:
    inner = tf.function(function, input_signature=[spec])
    folder = save(tmp_path, lambda x: inner(x), spec)
    scan(folder)

    def attack(meta_graph: Any) -> None:
        for _, node in members(meta_graph, op):
            node.attr[attribute].Clear()
            if filled == "another type":
                node.attr[attribute].i = 1
        if filled == "placeholder":
            fill_in(meta_graph, op, attribute, value)

    assert f"{op} (x1" in refuse(edit(folder, attack))


@pytest.mark.parametrize("op", ["PrintV2", "FixedUnigramCandidateSampler"])
def test_an_attribute_that_is_left_out_has_its_default(op: str, tmp_path: Path) -> None:
    function, spec = (print_it, STRING) if op == "PrintV2" else (sample, INTEGER)
    folder = save(tmp_path, function, spec)

    def leave_out(meta_graph: Any) -> None:
        for _, node in members(meta_graph, op):
            node.attr.pop("output_stream" if op == "PrintV2" else "vocab_file")

    scan(edit(folder, leave_out))


@pytest.mark.parametrize("op", ["DecodeProtoV2", "EncodeProto"])
def test_the_descriptors_of_a_message_must_be_literal(op: str, tmp_path: Path) -> None:
    folder = save(tmp_path, print_it, STRING)

    def add(meta_graph: Any) -> None:
        ((function, _),) = members(meta_graph, "PrintV2")
        function.node_def.add(name="code", op=op)

    def fill(**value: Any) -> Callable[[Any], None]:
        def change(meta_graph: Any) -> None:
            ((_, node),) = members(meta_graph, op)
            node.attr["descriptor_source"].CopyFrom(type(node.attr["descriptor_source"])(**value))

        return change

    scan(edit(folder, add))
    scan(edit(folder, fill(s=b"bytes://x")))
    for value in ({"s": b"/etc/hostname"}, {"placeholder": "secret"}, {}):
        assert f"{op} (x1" in refuse(edit(folder, fill(**value)))


def cache(x: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices(x).cache().reduce(0.0, lambda total, y: total + y)


@pytest.mark.parametrize("attribute", ["value", "dtype"])
@pytest.mark.parametrize("filled", ["placeholder", "nothing"])
def test_the_file_name_of_a_cache_must_be_a_literal(
    attribute: str, filled: str, tmp_path: Path
) -> None:
    folder = save(tmp_path, cache)
    scan(folder)

    def attack(meta_graph: Any) -> None:
        for function, node in members(meta_graph, "CacheDatasetV2"):
            name = node.input[1].partition(":")[0]
            constant = next(node for node in function.node_def if node.name == name)
            assert constant.op == "Const"
            constant.attr[attribute].Clear()
            if filled == "placeholder":
                constant.attr[attribute].placeholder = "secret"

    assert "CacheDatasetV2 (x" in refuse(edit(folder, attack))


def save_vocabulary(folder: Path, name: Callable[[Any], Any]) -> Path:
    """Save a model that reads a file whose path ``name`` computes from an asset's path."""
    (folder.parent / "words.txt").write_text("a\n")
    root = tf.Module()
    root.asset = tf.saved_model.Asset(str(folder.parent / "words.txt"))

    @tf.function(input_signature=[STRING])  # type: ignore[untyped-decorator]
    def look_up(path: Any) -> Any:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)
        initialized = tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=path, key_index=-1, value_index=-2
        )
        with tf.control_dependencies([initialized]):
            return tf.raw_ops.LookupTableFindV2(
                table_handle=table, keys=tf.constant([0], tf.int64), default_value=""
            )

    root.f = tf.function(
        lambda x: tf.add(look_up(name(root.asset.asset_path)), x), input_signature=[STRING]
    )
    tf.saved_model.save(root, str(folder))
    return folder


READS = "InitializeTableFromTextFileV2 (x1"


@pytest.mark.parametrize(
    ("op", "attribute"), [("StringJoin", "separator"), ("Const", "value"), ("Const", "dtype")]
)
@pytest.mark.parametrize("filled", ["placeholder", "nothing"])
def test_a_string_that_is_joined_to_a_path_must_be_literal(
    op: str, attribute: str, filled: str, tmp_path: Path
) -> None:
    folder = save_vocabulary(
        tmp_path / "model", lambda path: tf.strings.join([path, "_old"], separator="_")
    )
    scan(folder)

    def attack(meta_graph: Any) -> None:
        ((function, join),) = (
            pair for pair in members(meta_graph, "StringJoin") if "StatefulPartitionedCall" in
            {node.op for node in pair[0].node_def}
        )  # fmt: skip
        joined = join.input[1].partition(":")[0]
        constant = next(node for node in function.node_def if node.name == joined)
        node = join if op == "StringJoin" else constant
        node.attr[attribute].Clear()
        if filled == "placeholder":
            node.attr[attribute].placeholder = "secret"

    assert READS in refuse(edit(folder, attack))


def caller(meta_graph: Any) -> tuple[Any, Any]:
    """Return the function that reads the vocabulary, and the one that calls it."""
    ((reader, _),) = members(meta_graph, "InitializeTableFromTextFileV2")
    ((calling, _),) = (
        pair for pair in members(meta_graph, "StatefulPartitionedCall")
        if pair[1].attr["f"].func.name == reader.signature.name
    )  # fmt: skip
    return reader, calling


def default(meta_graph: Any, reader: Any, calling: Any) -> None:
    attribute = calling.signature.attr.add(name="secret", type="func")
    attribute.default_value.func.name = reader.signature.name
    call = calling.node_def.add(name="spy", op="PartitionedCall")
    call.attr["f"].placeholder = "secret"


def passed(meta_graph: Any, reader: Any, calling: Any) -> None:
    call = meta_graph.graph_def.node.add(name="spy", op="PartitionedCall")
    call.attr["f"].func.name = calling.signature.name
    call.attr["f"].func.attr["secret"].func.name = reader.signature.name


def alike(meta_graph: Any, reader: Any, calling: Any) -> None:
    for function in (reader, calling):
        function.attr["api_implements"].s = b"interface"


def named(meta_graph: Any, reader: Any, calling: Any) -> None:
    calling.attr["backward_function_name"].s = reader.signature.name.encode()


@pytest.mark.parametrize("disguise", [default, passed, alike, named])
def test_a_function_with_a_hidden_call_reads_no_file(disguise: Any, tmp_path: Path) -> None:
    folder = save_vocabulary(tmp_path / "model", lambda path: path)
    scan(folder)
    assert READS in refuse(edit(folder, lambda graph: disguise(graph, *caller(graph))))


@pytest.mark.parametrize("disguise", [default, alike, named])
def test_a_function_with_a_hidden_call_writes_no_checkpoint(disguise: Any, tmp_path: Path) -> None:
    root = tf.Module()
    root.weight = tf.Variable(1.0)  # with a variable, the model has a function that saves it
    root.f = tf.function(lambda x: x * root.weight, input_signature=[FLOATS])
    tf.saved_model.save(root, str(tmp_path), signatures={"serving_default": root.f})
    scan(tmp_path)

    def attack(meta_graph: Any) -> None:
        ((saver, _),) = members(meta_graph, "SaveV2")
        ((calling, _),) = members(meta_graph, "Mul")
        disguise(meta_graph, saver, calling)

    assert "SaveV2 (x1" in refuse(edit(tmp_path, attack))


def shared_name(meta_graph: Any) -> None:
    function = meta_graph.graph_def.library.function.add()
    function.signature.name = "other"
    node = function.node_def.add(name="alias", op="VarHandleOp")
    node.attr["shared_name"].placeholder = "secret"


def handle(meta_graph: Any) -> None:
    node = meta_graph.graph_def.node.add(name="alias", op="Const")
    node.attr["dtype"].type = tf.resource.as_datatype_enum
    node.attr["value"].tensor.dtype = tf.resource.as_datatype_enum


def parsed(meta_graph: Any) -> None:
    node = meta_graph.graph_def.node.add(name="alias", op="ParseTensor")
    node.attr["out_type"].type = tf.resource.as_datatype_enum


@pytest.mark.parametrize("alias", [shared_name, handle, parsed])
def test_a_variable_that_holds_a_path_must_have_no_alias(alias: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    (tmp_path / "words.txt").write_text("a\n")
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], name="x")
        asset = tf.constant(str(tmp_path / "words.txt"))
        v1.add_to_collection("asset_filepaths", asset)
        path = v1.get_variable("path", initializer=asset, use_resource=True)
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                path.read_value(), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )  # fmt: skip
        y = table.lookup(x)
        builder = v1.saved_model.Builder(str(tmp_path / "model"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        with tf.control_dependencies([path.initializer]):
            start = v1.group(v1.tables_initializer())
        session.run(path.initializer)
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=start,
            assets_collection=v1.get_collection("asset_filepaths"),
        )  # fmt: skip
        builder.save()
    folder = tmp_path / "model"

    def unsaved(meta_graph: Any) -> None:  # a restore could set the variable to any path
        for node in list(meta_graph.graph_def.node):
            if node.name.startswith("save/"):
                meta_graph.graph_def.node.remove(node)
        meta_graph.ClearField("saver_def")

    scan(edit(folder, unsaved))
    assert READS in refuse(edit(folder, alias))
