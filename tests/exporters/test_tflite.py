import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import hubopt
from hubopt.errors import ExportError, NotRunnableHereError
from hubopt.exporter import Artifact, Program
from hubopt.programs.tracing import trace
from hubopt.testing import make_task
from hubopt_exporters.tflite import TFLiteExporter


def to_tflite(program: Program, path: Path, **options: Any) -> Artifact:
    exporter = TFLiteExporter()
    return exporter.export(make_task(exporter, program, path, **options))


def flex_program(folder: Path) -> tuple[Any, Program]:
    """A program with an operation that is not a TFLite builtin."""
    function = tf.function(
        lambda x: tf.linalg.inv(x + 3 * tf.eye(3)), [tf.TensorSpec([1, 3, 3], tf.float32, "x")]
    )
    layer = hubopt.KerasLayer(function)
    return layer, trace(layer, hubopt.resolve(layer), folder)


def test_the_signature_keeps_the_layers_names(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    _, program = tiny_program
    artifact = to_tflite(program, tmp_path / "m.tflite")
    signatures = Interpreter(model_path=str(artifact.path)).get_signature_list()
    assert list(signatures) == ["serving_default"]
    assert sorted(signatures["serving_default"]["inputs"]) == ["left", "right"]
    assert sorted(signatures["serving_default"]["outputs"]) == ["difference", "sum"]


def test_an_operation_that_is_not_builtin_is_named(tmp_path: Path) -> None:
    _, program = flex_program(tmp_path / "program")
    with pytest.raises(ExportError, match="the converter refuses MatrixInverse") as caught:
        to_tflite(program, tmp_path / "m.tflite")
    assert "--select-tf-ops" in caught.value.way_out
    assert not (tmp_path / "m.tflite").exists()


def test_select_tf_ops_are_written_but_reported_as_not_runnable(tmp_path: Path) -> None:
    _, program = flex_program(tmp_path / "program")
    exporter = TFLiteExporter()
    artifact = to_tflite(program, tmp_path / "m.tflite", select_tf_ops=True)
    with pytest.raises(NotRunnableHereError, match="it has select-TF operations"):
        exporter.runner(artifact)


def test_the_select_tf_ops_flag_alone_changes_nothing(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    exporter = TFLiteExporter()
    artifact = to_tflite(tiny_program[1], tmp_path / "m.tflite", select_tf_ops=True)
    inputs = {"left": np.ones((2, 8), "float32"), "right": np.ones((2, 8), "float32")}
    assert set(exporter.runner(artifact).run(inputs)) == {"sum", "difference"}


def test_a_file_that_is_not_a_model_does_not_load(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    _, program = tiny_program
    (tmp_path / "m.tflite").write_bytes(b"nothing")
    artifact = Artifact("tflite", tmp_path / "m.tflite", program.spec)
    with pytest.raises(ExportError, match="LiteRT does not load it"):
        TFLiteExporter().runner(artifact)


def test_a_given_output_shape_adds_no_operation(tmp_path: Path) -> None:
    boxes = tf.constant([[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0], [4.0, 4.0, 5.0, 5.0]])
    function = tf.function(
        lambda scores: tf.image.non_max_suppression(boxes, scores, 3),
        [tf.TensorSpec([3], tf.float32, "scores")],
    )
    layer = hubopt.KerasLayer(function)
    spec = hubopt.resolve(layer, hubopt.Hints.parse(output_shapes=["3"]))
    program = trace(layer, spec, tmp_path / "program")
    assert "EnsureShape" not in {use.op for use in program.ops}
    exporter = TFLiteExporter()
    artifact = to_tflite(program, tmp_path / "m.tflite")
    outputs = exporter.runner(artifact).run({"scores": np.float32([0.1, 0.9, 0.5])})
    assert outputs["output_0"].tolist() == [1, 2, 0]


_PEAK = """
import resource, sys
from pathlib import Path
import tensorflow as tf
import hubopt
from hubopt.programs.tracing import trace
from hubopt.testing import make_task
from hubopt_exporters.tflite import TFLiteExporter

folder = Path(sys.argv[1])
kernels = [tf.Variable(tf.random.normal([1024, 1024])) for _ in range(16)]

def call(x):
    for kernel in kernels:
        x = tf.tanh(x @ kernel)
    return x

function = tf.function(call, input_signature=[tf.TensorSpec([1, 1024], tf.float32)])
layer = hubopt.KerasLayer(function)
program = trace(layer, hubopt.resolve(layer), folder / "p", saved_model=False)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
exporter = TFLiteExporter()
before = peak()
artifact = exporter.export(make_task(exporter, program, folder / "m.tflite"))
print((peak() - before) / program.frozen_bytes, artifact.path.stat().st_size)
"""


def test_a_conversion_takes_a_few_times_the_memory_of_its_weights(tmp_path: Path) -> None:
    """With the weights as constants, a ResNet50 took forty times their size in memory."""
    command = [sys.executable, "-c", _PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ratio, size = done.stdout.split()
    assert int(size) > 16 * 2**22
    assert float(ratio) < 7
