"""A graph on disk, with its large constants in a separate file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Program, XlaMode
from hubopt.programs.graphs.checkpoints import StoredTensor
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES, import_function, read_frozen_graph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.perturbing import lift, perturb

GENERATOR = np.random.default_rng(0)
ROWS = LARGE_BYTES // 16
TABLE = GENERATOR.standard_normal((ROWS, 4)).astype("float32")
X = np.array([[0, 7, ROWS - 1]], np.int32)


def traced(call: Any, folder: Path, xla: XlaMode = "require") -> Program:
    signature = [tf.TensorSpec(X.shape, tf.int32, name="x")]
    function = tf.function(call, input_signature=signature)
    return hubopt.trace(function, hubopt.resolve(function), folder / "program", xla)


def run(program: Program, graph_def: Any, weights: dict[str, Any]) -> np.ndarray:
    (name,) = (tensor.name for tensor in program.spec.inputs)
    runner = GraphRunner(graph_def, {name: program.input_tensors[0]}, weights)
    return runner.run({name: X}, program.output_tensors)[0]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: tf.Variable(TABLE), id="variable"),
        pytest.param(lambda: tf.constant(TABLE), id="captured tensor"),
        pytest.param(lambda: TABLE, id="constant of the graph"),
        pytest.param(lambda: tf.Variable(np.tile(TABLE, 2), dtype=tf.bfloat16), id="bfloat16"),
    ],
)
def test_large_weights_are_stored_beside_the_graph(tmp_path: Path, make: Any) -> None:
    table = make()
    program = traced(lambda x: tf.cast(tf.gather(table, x), tf.float32), tmp_path)
    assert program.frozen_graph.stat().st_size < 4096
    assert program.frozen_bytes > program.frozen_graph.stat().st_size + ROWS * 8
    graph = read_frozen_graph(program)
    ((name, array),) = graph.arrays().items()
    expected = tf.cast(tf.gather(table, X), tf.float32).numpy()
    np.testing.assert_array_equal(run(program, graph.graph_def, {name: array}), expected)
    np.testing.assert_array_equal(run(program, graph.whole(), {}), expected)


def test_small_constants_strings_and_uniform_tensors_stay_in_the_graph(tmp_path: Path) -> None:
    texts = tf.constant([b"a" * 64] * 2048)
    zeros = tf.zeros([ROWS, 4])

    def call(x: Any) -> Any:
        return tf.gather(tf.zeros([ROWS, 4]) + zeros, x) + tf.constant([1.0, 2.0, 3.0, 4.0])

    program = traced(call, tmp_path / "zeros")
    assert len(read_frozen_graph(program).weights) <= 1, "at most TensorFlow's own table"
    program = traced(lambda x: tf.strings.length(tf.gather(texts, x)), tmp_path, "auto")
    assert read_frozen_graph(program).weights == {}


def test_weights_of_a_saved_model_are_not_written_twice(tmp_path: Path) -> None:
    """Each placeholder gets its own variable, regardless of their order in the SavedModel."""
    tables = [tf.Variable(TABLE * factor, name="same") for factor in (1.0, 10.0, 100.0)]
    held = tf.constant(TABLE * 1000)
    weighted = ((1, tables[2]), (2, tables[0]), (3, tables[1]), (4, held))

    def call(x: Any) -> Any:
        return tf.add_n([tf.gather(table, x) * factor for factor, table in weighted])

    program = traced(call, tmp_path)
    (own,) = (name for name, _ in tf.train.list_variables(str(program.weights / "weights")))
    graph = read_frozen_graph(program)
    assert len(graph.weights) == 4
    np.testing.assert_array_equal(graph.arrays()[own], held, "the captured tensor, not a variable")
    expected = TABLE[X] * (100 + 2 + 30 + 4000)
    np.testing.assert_allclose(run(program, graph.graph_def, graph.arrays()), expected, rtol=1e-6)
    graph_alone = program.frozen_graph.stat().st_size
    assert program.frozen_bytes == graph_alone + 4 * TABLE.nbytes
    folder = tmp_path / "folder"
    program.folder.rename(folder)
    relocated = replace(program, folder=folder)
    read = read_frozen_graph(relocated)
    np.testing.assert_allclose(run(relocated, read.graph_def, read.arrays()), expected, rtol=1e-6)


def test_a_weight_is_read_only_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A membership test, such as the callers make, reads nothing."""
    table = tf.Variable(TABLE)
    program = traced(lambda x: tf.gather(table, x), tmp_path)
    graph = read_frozen_graph(program)
    reads = []
    read = StoredTensor.read
    monkeypatch.setattr(StoredTensor, "read", lambda self: reads.append(self.key) or read(self))
    lifted = lift(graph.graph_def, graph.arrays())
    perturbed = perturb(*lifted)
    assert not any("x" in weights for weights in (graph.arrays(), lifted[1], perturbed[1]))
    assert not reads
    (name,) = graph.weights
    assert name in perturbed[1]
    assert np.abs(run(program, *perturbed) - TABLE[X]).max() > 0
    assert len(reads) == 1


def test_weights_inside_compiled_functions_are_stored_separately(tmp_path: Path) -> None:
    table = tf.Variable(TABLE)
    inner = tf.function(lambda x: tf.gather(table, x), jit_compile=True)
    program = traced(lambda x: inner(x) * 2.0, tmp_path)
    graph = read_frozen_graph(program)
    assert len(graph.weights) == 1
    np.testing.assert_array_equal(run(program, graph.graph_def, graph.arrays()), TABLE[X] * 2)


def test_an_output_that_depends_on_stored_weights_is_not_weightless(tmp_path: Path) -> None:
    table = tf.Variable(TABLE)
    assert traced(lambda x: tf.gather(table, x), tmp_path).weightless == ()
    assert traced(lambda x: x + 1, tmp_path / "none").weightless != ()


def test_a_graph_is_imported_as_a_function_of_its_placeholders() -> None:
    """It takes all of them in the requested order. One may be an output, one may be unused."""

    def call(x: Any, y: Any, unused: Any) -> Any:
        looped = tf.while_loop(lambda at, _: at < 3, lambda at, x: (at + 1, x * y), (0, x))[1]
        return tf.identity(looped), tf.identity(y)

    specs = [tf.TensorSpec([2], tf.float32, name=name) for name in ("x", "y", "unused")]
    frozen = freeze(tf.function(call, input_signature=specs).get_concrete_function())
    names = [tensor.name for tensor in frozen.inputs]
    outputs = [*(tensor.name for tensor in frozen.outputs), names[0]]
    function = import_function(frozen.graph.as_graph_def(), names[::-1], outputs)
    x, y = np.float32([1, 2]), np.float32([3, 4])
    looped, same, fed = function(*map(tf.constant, (x, y, x)))  # unused, y, x
    np.testing.assert_array_equal(looped, x * y**3)
    np.testing.assert_array_equal(same, y)
    np.testing.assert_array_equal(fed, x)
    assert not [op for op in function.graph.get_operations() if op.name in ("x", "y")]
