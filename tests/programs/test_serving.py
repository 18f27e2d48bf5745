"""A SavedModel that was saved uncompiled becomes the one that ``jit_compile=True`` saves."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import hubopt
from hubopt._platform.tf_private import compiled_functions, read_saved_model
from hubopt.exporter import Program
from hubopt.programs.serving import compile_saved_model, is_compiled
from hubopt.programs.tracing import trace
from hubopt.scanning.fingerprint import check_fingerprint


def test_it_is_compiled_by_its_signature_and_by_its_own_call(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    layer, program = tiny_program
    folder = trace(layer, program.spec, tmp_path / "program").saved_model
    assert not is_compiled(tf.saved_model.load(str(folder)))
    compile_saved_model(folder)
    loaded = tf.saved_model.load(str(folder))
    assert is_compiled(loaded)
    inputs = {name: tf.ones([2, 8]) for name in ("left", "right")}
    called = tf.function(loaded).get_concrete_function(inputs)
    assert compiled_functions(called.graph.as_graph_def())
    for name, array in loaded.signatures["serving_default"](**inputs).items():
        np.testing.assert_allclose(array, layer(inputs)[name], rtol=1e-5)
        np.testing.assert_array_equal(array, loaded(inputs)[name])
    check_fingerprint(folder, read_saved_model(folder))


def test_only_the_functions_that_tracing_compiles_are_marked(tmp_path: Path) -> None:
    """The model's own functions are not, even one that has the name of hubopt's."""

    def structured(x: tf.Tensor) -> tf.Tensor:
        return x * 2

    inner = tf.function(structured)
    spec = tf.TensorSpec([2], tf.float32, name="x")
    layer = hubopt.KerasLayer(tf.function(lambda x: inner(x) + 1, input_signature=[spec]))
    resolved = hubopt.resolve(layer)
    later = trace(layer, resolved, tmp_path / "later").saved_model
    compile_saved_model(later)
    traced = trace(layer, resolved, tmp_path / "traced", "require").saved_model
    counts = [
        len(compiled_functions(read_saved_model(folder).meta_graphs[0].graph_def))
        for folder in (later, traced)
    ]
    assert counts == [2, 2]
