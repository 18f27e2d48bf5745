"""Operations that are forbidden in a SavedModel, and those that are allowed."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt._platform.tf_private import read_saved_model
from hubopt.errors import LoadError, UnsafeModelError
from hubopt.scanning.saved_graphs import nodes
from hubopt.scanning.scan import scan

FLOATS = tf.TensorSpec([None], tf.float32)
STRING = tf.TensorSpec([], tf.string)


def save(folder: Path, function: Callable[..., Any], *specs: tf.TensorSpec) -> Path:
    root = tf.Module()
    root.weight = tf.Variable(2.0)
    root.f = tf.function(function, input_signature=specs or [FLOATS])
    tf.saved_model.save(root, str(folder), signatures={"serving_default": root.f})
    return folder


def refuse(folder: Path, *allow: str) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        scan(folder, allow=allow)
    return str(caught.value)


def read_dataset(dataset: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
    return lambda name: dataset(name).reduce(0, lambda count, _: count + 1)


@pytest.mark.parametrize(
    ("op", "function", "specs"),
    [
        ("ReadFile", tf.io.read_file, [STRING]),
        ("MatchingFiles", tf.io.matching_files, [STRING]),
        ("TFRecordDataset", read_dataset(tf.data.TFRecordDataset), [STRING]),
        ("TextLineDataset", read_dataset(tf.data.TextLineDataset), [STRING]),
        (
            "ImmutableConst",
            lambda x: x + tf.raw_ops.ImmutableConst(
                dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname"
            ),
            [FLOATS],
        ),
        ("PyFunc", lambda x: tf.numpy_function(np.sin, [x], tf.float32), [FLOATS]),
        ("EagerPyFunc", lambda x: tf.py_function(tf.sin, [x], tf.float32), [FLOATS]),
        ("RestoreV2", lambda name: tf.raw_ops.RestoreV2(
            prefix=name, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0], [STRING]),
        ("DatasetFromGraph", lambda x: tf.data.experimental.from_variant(
            tf.raw_ops.DatasetFromGraph(graph_def=x), STRING
        ).reduce(0, lambda count, _: count + 1), [STRING]),
    ],
)  # fmt: skip
def test_an_operation_that_does_more_than_compute_is_named(
    op: str, function: Callable[..., Any], specs: list[tf.TensorSpec], tmp_path: Path
) -> None:
    text = refuse(save(tmp_path, function, *specs))
    line = next(line for line in text.splitlines() if line.startswith(f"  - {op} "))
    assert re.search(r"\(x\d+, node \S+ of function \S+\): \w+", line), line
    assert f"--allow-op {op}" in text
    scan(tmp_path, allow=[op])


def test_all_dangerous_operations_are_named_at_once(tmp_path: Path) -> None:
    def spy(name: tf.Tensor) -> tf.Tensor:
        content = tf.cond(tf.strings.length(name) > 3, lambda: tf.io.read_file(name), lambda: name)
        with tf.control_dependencies([tf.io.write_file("/tmp/stolen", content)]):
            tf.print(content, output_stream="file:///tmp/stolen_too")
        return tf.io.read_file(content)

    text = refuse(save(tmp_path, spy, STRING), "PyFunc")
    assert "ReadFile (x2, " in text
    assert "WriteFile (x1, " in text
    assert "PrintV2 (x1, " in text
    assert "can read any file" in text
    assert "can write files" in text
    assert "--allow-op PrintV2 --allow-op ReadFile --allow-op WriteFile" in text
    assert "ReadFile" not in refuse(tmp_path, "ReadFile")


def test_an_operation_that_writes_summaries_is_named(tmp_path: Path) -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        writer = tf.raw_ops.SummaryWriter(shared_name="w", container="")
        tf.raw_ops.CreateSummaryFileWriter(
            writer=writer, logdir="/tmp/logs", max_queue=1, flush_millis=1, filename_suffix=""
        )
        return x

    assert "CreateSummaryFileWriter" in refuse(save(tmp_path, call))


def test_operations_that_run_while_loading_are_scanned_too(tmp_path: Path) -> None:
    class Resource(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
        def _create_resource(self) -> tf.Tensor:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.io.write_file("/tmp/stolen", "loaded")

    root = tf.Module()
    root.resource = Resource()
    handle = root.resource.resource_handle

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LookupTableFindV2(
            table_handle=handle, keys=x, default_value=tf.constant(0, tf.int64)
        )

    root.f = tf.function(call, input_signature=[STRING])
    tf.saved_model.save(root, str(tmp_path))
    assert "WriteFile" in refuse(tmp_path)


def test_memory_caches_and_messages_are_harmless(tmp_path: Path) -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        tf.print("a message", x)
        dataset = tf.data.Dataset.from_tensor_slices(x).cache()
        return dataset.reduce(0.0, lambda total, element: total + element)

    scan(save(tmp_path, call))
    ops = {placed.node.op for placed in nodes(read_saved_model(tmp_path).meta_graphs[0])}
    assert {"PrintV2", "CacheDatasetV2"} <= ops, (
        "the model must contain the operations that are allowed"
    )


def test_a_cache_in_a_file_is_named(tmp_path: Path) -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        dataset = tf.data.Dataset.from_tensor_slices(x).cache("/tmp/stolen")
        return dataset.reduce(0.0, lambda total, element: total + element)

    assert "CacheDatasetV2" in refuse(save(tmp_path, call))


def test_tables_and_vocabularies_are_harmless(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("a\nb\n")
    root = tf.Module()
    root.fixed = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "vocabulary.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        num_oov_buckets=1,
    )  # fmt: skip
    root.grown = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    root.f = tf.function(
        lambda x: root.fixed.lookup(x) + root.grown.lookup(x), input_signature=[STRING]
    )
    tf.saved_model.save(root, str(tmp_path / "model"))
    scan(tmp_path / "model")


def save_tf1(folder: Path, spies: bool) -> Path:
    """Write a flat TF1 graph with a saver and an unused saver from training."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        y = x * v1.get_variable("w", [], use_resource=True)
        if spies:
            name = v1.placeholder_with_default("/etc/hostname", [])
            restored = tf.raw_ops.RestoreV2(
                prefix=name, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
            )
            y = y + restored[0]
        v1.train.Saver()
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


def test_a_tf1_graph_may_hold_savers_but_not_call_them(tmp_path: Path) -> None:
    harmless = save_tf1(tmp_path / "harmless", spies=False)
    ops = [placed.node.op for placed in nodes(read_saved_model(harmless).meta_graphs[0])]
    assert ops.count("SaveV2") >= 2, "the model must contain the operations that are allowed"
    scan(harmless)
    text = refuse(save_tf1(tmp_path / "spying", spies=True))
    assert re.search(r"RestoreV2 \(x1, node RestoreV2\): ", text)


def test_only_the_graph_with_the_given_tags_is_scanned(tiny: Path, tmp_path: Path) -> None:
    both = read_saved_model(tiny)
    spying = read_saved_model(save(tmp_path / "spying", tf.io.read_file, STRING)).meta_graphs[0]
    spying.meta_info_def.tags[:] = ["serve", "gpu"]
    both.meta_graphs.append(spying)
    (tmp_path / "saved_model.pb").write_bytes(both.SerializeToString())
    assert "ReadFile" in refuse(tmp_path)
    scan(tmp_path, ("serve",))
    with pytest.raises(UnsafeModelError):
        scan(tmp_path, ("gpu", "serve"))


def test_a_saved_model_in_text_format_is_scanned(tmp_path: Path) -> None:
    binary = save(tmp_path, tf.io.read_file, STRING) / "saved_model.pb"
    text = str(read_saved_model(tmp_path))
    binary.unlink()
    (tmp_path / "saved_model.pbtxt").write_text(text)
    assert "ReadFile" in refuse(tmp_path)
    (tmp_path / "saved_model.pbtxt").write_text(text[: len(text) // 2])
    with pytest.raises(LoadError, match="it cannot be read"):
        scan(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\xff" * 100, b"a picture, say"], ids=["empty", "0", "ff", "text"]
)
def test_a_file_that_is_no_saved_model_is_reported_in_one_line(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(LoadError, match="it cannot be read: ") as caught:
        scan(tmp_path)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.real
def test_published_models_are_harmless(basic_pitch: Path, quickspacer: Path) -> None:
    start = time.perf_counter()
    scan(basic_pitch)
    scan(quickspacer)
    assert time.perf_counter() - start < 10


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_a_changed_index_does_not_match_its_fingerprint(copy: Path) -> None:
    scan(copy)
    flip(copy / "variables" / "variables.index", 10)
    with pytest.raises(LoadError, match="changed or damaged") as caught:
        scan(copy)
    text = str(caught.value)
    assert re.search(r"variables/variables.index has checksum [0-9a-f]{16}\n", text)
    assert re.search(r"checksums in fingerprint.pb: variables/variables.index [0-9a-f]{16}\n", text)
    assert "saved_model.pb has" not in text
    (copy / "fingerprint.pb").unlink()
    scan(copy)


def test_a_changed_graph_does_not_match_its_fingerprint(copy: Path) -> None:
    changed = read_saved_model(copy)
    changed.meta_graphs[0].meta_info_def.tensorflow_version = "2.0.0"
    (copy / "saved_model.pb").write_bytes(changed.SerializeToString())
    with pytest.raises(LoadError, match=r"saved_model.pb has checksum"):
        scan(copy)


def test_the_order_of_serialized_fields_does_not_matter(copy: Path) -> None:
    file = copy / "saved_model.pb"
    before = file.read_bytes()
    file.write_bytes(read_saved_model(copy).SerializeToString(deterministic=False))
    scan(copy)
    file.write_bytes(before)
    scan(copy)


@pytest.mark.parametrize("content", [b"", b"\xff" * 30], ids=["empty", "garbage"])
def test_a_damaged_fingerprint_is_reported(copy: Path, content: bytes) -> None:
    (copy / "fingerprint.pb").write_bytes(content)
    with pytest.raises(LoadError, match=r"fingerprint.pb cannot be read"):
        scan(copy)


def test_fingerprints_of_other_versions_are_ignored(copy: Path) -> None:
    from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef

    for producer in (0, 1000):
        other = FingerprintDef(saved_model_checksum=1)
        other.version.producer = producer
        (copy / "fingerprint.pb").write_bytes(other.SerializeToString())
        scan(copy)


def test_a_node_without_a_dtype_does_not_crash_the_fingerprinting(copy: Path) -> None:
    broken = read_saved_model(copy)
    node = next(node for node in broken.meta_graphs[0].graph_def.node if node.op == "Const")
    del node.attr["dtype"]
    (copy / "saved_model.pb").write_bytes(broken.SerializeToString())
    with pytest.raises(LoadError, match="has no dtype"):
        scan(copy)
