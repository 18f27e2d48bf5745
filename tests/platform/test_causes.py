"""TensorFlow's failures, provoked here, are explained in plain words."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from hubopt._platform.causes import explain, first_line
from hubopt._platform.tf_private import read_saved_model


def provoke(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # TensorFlow raises any type
        function()
    return caught.value


def explained(function: Callable[[], Any]) -> str:
    explanation = explain(provoke(function))
    assert explanation is not None, (
        "TensorFlow words it differently: mend hubopt/_platform/causes.py"
    )
    found, way_out = explanation
    assert way_out
    return found


@pytest.fixture
def broken(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "broken"))


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "words.txt").write_text("a\nb\n")
    root = tf.Module()
    index = tf.lookup.TextFileIndex
    root.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(folder / "words.txt"), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
        ),
        default_value=-1,
    )
    spec = [tf.TensorSpec([None], tf.string)]
    root.f = tf.function(lambda x: root.table.lookup(x), input_signature=spec)
    tf.saved_model.save(root, str(folder / "model"))
    return folder / "model"


def load(folder: Path) -> Any:
    return tf.saved_model.load(str(folder))


def data_file(folder: Path) -> Path:
    return next((folder / "variables").glob("variables.data-*"))


def test_missing_variables(broken: Path) -> None:
    data_file(broken).unlink()
    assert "a file of the variables is missing" in explained(lambda: load(broken))
    (broken / "variables" / "variables.index").unlink()
    assert "the files of the variables are missing" in explained(lambda: load(broken))
    shutil.rmtree(broken / "variables")
    assert "the files of the variables are missing" in explained(lambda: load(broken))


def test_damaged_variables(broken: Path) -> None:
    content = data_file(broken).read_bytes()
    data_file(broken).write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    assert "the checksum does not match" in explained(lambda: load(broken))
    data_file(broken).write_bytes(content[:100])
    assert "cut short" in explained(lambda: load(broken))
    data_file(broken).write_bytes(content)
    index = broken / "variables" / "variables.index"
    content = index.read_bytes()
    index.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    assert "variables.index is damaged" in explained(lambda: load(broken))
    index.write_bytes(content[:30])
    assert explained(lambda: load(broken)) == "variables/variables.index is cut short"


def test_a_damaged_graph(broken: Path) -> None:
    (broken / "saved_model.pb").write_bytes(b"\xff\xff")
    assert explained(lambda: load(broken)) == "saved_model.pb is damaged or cut short"


def test_an_operation_that_is_not_registered(broken: Path) -> None:
    saved_model = read_saved_model(broken)
    for function in saved_model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = node.op.replace("Tanh", "MyTanh")
    (broken / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    found = explained(lambda: load(broken))
    assert found == "operation MyTanh is not part of this TensorFlow"


def test_damaged_vocabularies(text_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "text"))
    asset = folder / "assets" / "words.txt"
    asset.write_text("a\na\n")
    assert "different value for same key" in explained(lambda: load(folder))
    asset.write_text("")
    assert "a vocabulary in assets/ is damaged" in explained(lambda: load(folder))
    asset.unlink()
    assert f"is missing: {asset}" in explained(lambda: load(folder))


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="needs a lack of a GPU")
def test_an_operation_for_another_device() -> None:
    spec = [tf.TensorSpec(None)]
    rnn = tf.function(
        lambda x: tf.raw_ops.CudnnRNN(input=x, input_h=x, input_c=x, params=x)[0],
        input_signature=spec,
    )
    expected = "operation {} runs on GPU only, and this machine has none for TensorFlow"
    assert explained(lambda: rnn(tf.ones([1, 1, 1]))) == expected.format("CudnnRNN")
    reduce = tf.raw_ops.NcclAllReduce
    found = explained(
        lambda: reduce(input=tf.ones([2]), reduction="sum", num_devices=1, shared_name="x")
    )
    assert found == expected.format("NcclAllReduce")


def test_a_dtype_without_a_kernel() -> None:
    product = tf.function(
        lambda x: tf.raw_ops.BatchMatMulV2(x=x, y=x),
        input_signature=[tf.TensorSpec([2, 2], tf.uint8)],
    )
    found = explained(lambda: product(tf.ones([2, 2], tf.uint8)))
    assert found.startswith("operation BatchMatMulV2 has no kernel for T=DT_UINT8 on ")


def test_a_dtype_that_an_operation_never_takes() -> None:
    ones = tf.ones([2, 2], tf.int8)
    found = explained(lambda: tf.raw_ops.MatMul(a=ones, b=ones))
    assert found.startswith("operation MatMul does not take int8, only bfloat16")


def test_memory_that_ran_out() -> None:
    found = explained(lambda: tf.zeros([1 << 44]))
    assert found == f"memory ran out at a tensor of shape [{1 << 44}]"


def test_variables_that_were_deleted(tiny: Path) -> None:
    call = load(tiny).__call__
    ones = tf.ones([1, 8])
    found = explained(lambda: call({"left": ones, "right": ones}))
    assert found == "the function was kept, but the object with its variables was not"


def test_an_unknown_error_is_not_explained() -> None:
    assert explain(ValueError("the moon is full")) is None


def test_the_first_informative_line_is_found_below_the_headings(
    text_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "text"))
    (folder / "assets" / "words.txt").write_text("a\na\n")
    assert first_line(provoke(lambda: load(folder))).startswith("HashTable has different value")
    assert first_line(provoke(lambda: tf.zeros([1 << 44]))).startswith("OOM when allocating")
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n"
            "<stack traces unavailable>\n",
            "node a/b fails, and TensorFlow gives no reason",
        ),
        ("Graph execution error:\n", "TensorFlow gives no reason"),
        (
            "Graph execution error:\n\n2 root error(s) found.\n"
            "  (0) INVALID_ARGUMENT:  no such index\n  (1) ...",
            "no such index",
        ),
        (
            "Could not translate MLIR to FlatBuffer./a/b.py:283:1: error: 'tf.Foo' op is neither a "
            "custom op nor a flex op\n    call(\n^\n/a/c.py:3:1: note: called from",
            "'tf.Foo' op is neither a custom op nor a flex op",
        ),
        (
            'loc(fused["Foo:", callsite("F"("/a/b.py":696:1) at "/a/c.py":4:1))]): error: '
            "failed to legalize operation 'tf.Foo'",
            "failed to legalize operation 'tf.Foo'",
        ),
        ("make_sure failure: Opset 99 is not supported yet", "Opset 99 is not supported yet"),
        ("a label with an error: in it", "a label with an error: in it"),
    ],
)
def test_headings_and_places_are_cut_off(text: str, cause: str) -> None:
    assert first_line(ValueError(text)) == cause


def test_the_node_of_a_graph_error_is_not_its_cause() -> None:
    @tf.function
    def pick(at: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.constant([1.0, 2.0]), at)

    assert first_line(provoke(lambda: pick(tf.constant([9])))) == "indices[0] = 9 is not in [0, 2)"


def test_the_innermost_node_of_an_onnx_error_is_named() -> None:
    """onnx lists the errors of every loop and branch around it, and every further node."""
    import onnx

    def value(name: str, kind: int, *shape: int) -> Any:
        return onnx.helper.make_tensor_value_info(name, kind, shape)

    add = onnx.helper.make_node("Add", ["a", "b"], ["c"], name="inner/add")
    body = onnx.helper.make_graph(
        [add],
        "body",
        [value("i", 7), value("go", 9), value("a", 6, 1)],
        [value("go", 9), value("c", 6, 1)],
        [onnx.helper.make_tensor("b", 7, [1], [1])],
    )
    loop = onnx.helper.make_node("Loop", ["n", "", "a0"], ["y"], name="loop", body=body)
    graph = onnx.helper.make_graph([loop], "g", [value("n", 7), value("a0", 6, 1)], [])
    graph.output.append(value("y", 6, 1))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    line = first_line(provoke(lambda: onnx.checker.check_model(model, full_check=True)))
    assert line == "Add inner/add: B has inconsistent type tensor(int64)"


def test_a_long_cause_is_cut() -> None:
    assert len(first_line(ValueError("x" * 10_000))) == 300


def test_the_first_informative_line_is_found_in_an_autograph_error() -> None:
    @tf.function
    def fails(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [7])

    line = first_line(provoke(lambda: fails(tf.ones([3]))))
    assert line.startswith("ValueError: Cannot reshape")
