"""A SavedModel may restore its own variables and read its own vocabularies, and no other file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

import hubopt
from hubopt._platform.tf_private import read_saved_model
from hubopt.errors import UnsafeModelError
from hubopt.scanning.scan import scan
from tests.layers.models import tf1_module

v1 = tf.compat.v1


def refuse(folder: Path) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        hubopt.KerasLayer(str(folder))
    return str(caught.value)


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    saved_model = read_saved_model(folder)
    change(saved_model.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def save_tf1(folder: Path, sharded: bool = False) -> Path:
    """Write a TF1 graph with a saver, a local variable and a vocabulary."""
    vocabulary = folder.parent / "words.txt"
    vocabulary.write_text("a\nb\n")
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], name="x")
        v1.get_variable("w", initializer=tf.ones([3]), use_resource=True)
        v1.get_variable(
            "local", initializer=tf.ones([1]), collections=["local_variables"], use_resource=True
        )
        asset = tf.constant(str(vocabulary))
        v1.add_to_collection("asset_filepaths", asset)
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )  # fmt: skip
        y = table.lookup(x)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature},
            main_op=v1.group(v1.tables_initializer(), v1.local_variables_initializer()),
            assets_collection=v1.get_collection("asset_filepaths"),
            saver=v1.train.Saver(sharded=sharded),
        )  # fmt: skip
        builder.save()
    return folder


def save_table(folder: Path) -> Path:
    vocabulary = folder.parent / "words.txt"
    vocabulary.write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
    )  # fmt: skip
    root = tf.Module()
    root.table = tf.lookup.StaticHashTable(initializer, "")
    root.__call__ = tf.function(
        lambda x: root.table.lookup(x), input_signature=[tf.TensorSpec([None], tf.int64)]
    )
    tf.saved_model.save(root, str(folder))
    return folder


def add_writer(meta_graph: Any, path: Path) -> None:
    with v1.Graph().as_default() as graph:
        tf.raw_ops.SaveV2(
            prefix=str(path), tensor_names=["a"], shape_and_slices=[""],
            tensors=[tf.constant(b"stolen")], name="evil",
        )  # fmt: skip
    for node in graph.as_graph_def().node:
        node.name = f"x/{node.name}"
        node.input[:] = [f"x/{name}" for name in node.input]
        meta_graph.graph_def.node.append(node)


def node_of(meta_graph: Any, name: str) -> Any:
    return next(node for node in meta_graph.graph_def.node if node.name == name)


@pytest.mark.parametrize("sharded", [False, True])
def test_tf1_models_with_variables_and_vocabularies_are_harmless(
    sharded: bool, tmp_path: Path
) -> None:
    folder = save_tf1(tmp_path / "model", sharded)
    scan(folder)
    layer = hubopt.KerasLayer(str(folder), signature="serving_default", output_key="y")
    np.testing.assert_array_equal(layer(tf.constant(["b", "c"])), [1, -1])


@pytest.mark.parametrize("resource", [False, True])
def test_tf1_modules_are_harmless(resource: bool, tmp_path: Path) -> None:
    scan(tf1_module(tmp_path, resource=resource))


def test_assets_are_found_in_both_lists_of_a_saved_model(tmp_path: Path) -> None:
    folder = save_tf1(tmp_path / "model")  # lists its assets in the older collection

    def leave(meta_graph: Any) -> None:
        packed = meta_graph.collection_def["saved_model_assets"].any_list.value
        asset = AssetFileDef()
        packed[0].Unpack(asset)
        asset.filename = "/etc/hostname"
        packed[0].Pack(asset)

    def move(meta_graph: Any) -> None:
        packed = meta_graph.collection_def.pop("saved_model_assets").any_list.value
        packed[0].Unpack(meta_graph.asset_file_def.add())

    edit(folder, leave)
    assert "AssetFileDef (x1, '/etc/hostname')" in refuse(folder)
    edit(folder, move)
    assert "AssetFileDef (x1, '/etc/hostname')" in refuse(folder)
    scan(folder, allow=["AssetFileDef"])


@pytest.mark.parametrize("place", ["restore", "local/Assign"])
def test_nothing_is_saved_while_a_model_loads(place: str, tmp_path: Path) -> None:
    folder = save_tf1(tmp_path / "model")

    def attack(meta_graph: Any) -> None:
        add_writer(meta_graph, tmp_path / "stolen")
        name = meta_graph.saver_def.restore_op_name if place == "restore" else place
        node_of(meta_graph, name).input.append("^x/evil")
        # The loader runs the initializers of local variables if the model has no init op.
        for key in ("__saved_model_init_op",):
            meta_graph.signature_def.pop(key, None)
        for key in ("saved_model_main_op", "legacy_init_op"):
            meta_graph.collection_def.pop(key, None)

    edit(folder, attack)
    assert re.search(r"SaveV2 \(x1, node x/evil\): can read or write files", refuse(folder))
    assert not list(tmp_path.glob("stolen*"))


def test_no_other_checkpoint_is_restored(tmp_path: Path) -> None:
    folder = save_tf1(tmp_path / "model")

    def attack(meta_graph: Any) -> None:
        with v1.Graph().as_default() as graph:
            tf.constant("/elsewhere/variables", name="elsewhere")
        meta_graph.graph_def.node.extend(graph.as_graph_def().node)
        for node in meta_graph.graph_def.node:
            if node.op == "RestoreV2":
                node.input[0] = "elsewhere"

    edit(folder, attack)
    assert "RestoreV2 (x" in refuse(folder)


@pytest.mark.parametrize("name", ["/etc/hostname", "../../words.txt", "a/../../../b", "link"])
def test_a_vocabulary_outside_the_model_is_refused(name: str, tmp_path: Path) -> None:
    folder = save_table(tmp_path / "model")
    scan(folder)
    (folder / "assets" / "link").symlink_to("/etc/hostname")

    def attack(meta_graph: Any) -> None:
        meta_graph.asset_file_def[0].filename = name

    edit(folder, attack)
    text = refuse(folder)
    assert f"AssetFileDef (x1, {name!r}): names a file outside" in text
    assert "--allow-op AssetFileDef" in text
    scan(folder, allow=["AssetFileDef"])


def test_a_model_of_links_into_a_cache_is_accepted(tmp_path: Path) -> None:
    folder = save_table(tmp_path / "model")
    (tmp_path / "blobs").mkdir()
    for file in (folder / "saved_model.pb", folder / "assets" / "words.txt"):
        file.rename(tmp_path / "blobs" / file.name)
        file.symlink_to(tmp_path / "blobs" / file.name)
    scan(folder)


def look_up(name: Any) -> Any:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)
    initialized = tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=name, key_index=-1, value_index=-2, vocab_size=-1,
        delimiter="\t", offset=0,
    )  # fmt: skip
    with tf.control_dependencies([initialized]):
        return tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=tf.constant([0], tf.int64), default_value=""
        )


NAME = tf.constant("/etc/hostname")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])  # type: ignore[untyped-decorator]
def nested(name: Any) -> Any:
    return look_up(name)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: look_up("/etc/hostname"),
        lambda x: look_up(x),
        lambda x: look_up(NAME),
        lambda x: look_up(tf.strings.join(["/etc/", "hostname"])),
        lambda x: nested(tf.constant("/etc/hostname")),
        lambda x: nested(NAME),
        lambda x: tf.cond(x == "", lambda: nested("/etc/hostname"), lambda: look_up(x)),
        lambda x: tf.map_fn(nested, x[None], tf.TensorSpec([1], tf.string)),
    ],
    ids=["constant", "input", "captured", "joined", "passed on", "passed", "branch", "mapped"],
)
def test_a_vocabulary_that_is_no_asset_is_refused(call: Any, tmp_path: Path) -> None:
    root = tf.Module()
    root.name_ = NAME
    root.__call__ = tf.function(call, input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(root, str(tmp_path))
    text = refuse(tmp_path)
    assert "InitializeTableFromTextFileV2 (x" in text
    assert "can read any file of this machine" in text
    scan(tmp_path, allow=["InitializeTableFromTextFileV2"])


def test_an_asset_replaced_by_a_constant_is_refused(tmp_path: Path) -> None:
    folder = save_table(tmp_path / "model")

    def attack(meta_graph: Any) -> None:
        for node in meta_graph.object_graph_def.nodes:
            if node.WhichOneof("kind") == "asset":
                node.constant.operation = "asset_path_initializer"

    edit(folder, attack)
    assert "InitializeTableFromTextFileV2 (x1" in refuse(folder)


def test_a_vocabulary_initializer_in_a_tf1_signature_is_refused(tmp_path: Path) -> None:
    folder = save_tf1(tmp_path / "model")

    def attack(meta_graph: Any) -> None:
        names = {node.name: node for node in meta_graph.graph_def.node}
        output = meta_graph.signature_def["serving_default"].outputs["y"].name.partition(":")[0]
        (init,) = (n for n, node in names.items() if node.op.startswith("InitializeTableFromText"))
        names[output].input.append(f"^{init}")

    edit(folder, attack)
    assert "InitializeTableFromTextFileV2 (x1" in refuse(folder)


def test_a_vocabulary_reached_by_nested_calls_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\n")
    root = tf.Module()
    root.asset = tf.saved_model.Asset(str(tmp_path / "words.txt"))
    root.__call__ = tf.function(
        lambda x: tf.cond(
            x > 0, lambda: nested(root.asset.asset_path), lambda: look_up(root.asset.asset_path)
        ),
        input_signature=[tf.TensorSpec([], tf.float32)],
    )
    tf.saved_model.save(root, str(tmp_path / "model"))
    scan(tmp_path / "model")


def test_a_saver_in_a_gradient_is_refused(tmp_path: Path) -> None:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def double(x: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            tf.raw_ops.SaveV2(
                prefix=str(tmp_path / "stolen"), tensor_names=["a"], shape_and_slices=[""],
                tensors=[tf.constant(1.0)],
            )  # fmt: skip
            return upstream

        return 2 * x, gradient

    root = tf.Module()
    root.__call__ = tf.function(
        lambda x: double(x), input_signature=[tf.TensorSpec([None], tf.float32)]
    )
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(root, str(tmp_path / "model"), options=options)
    assert "SaveV2 (x1" in refuse(tmp_path / "model")
