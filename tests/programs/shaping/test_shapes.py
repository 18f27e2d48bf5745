"""Sources that determine a dimension, their precedence, and the errors for open dimensions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hubopt
from hubopt.errors import SpecError, TraceError
from hubopt.hints import Hints
from tests.layers.models import hide_shape, text_embedding
from tests.layers.test_interface import ragged_and_sparse

UNKNOWN = object()
"""An input of unknown rank."""


def layer(
    function: Callable[..., Any] = tf.identity, shape: Any = (None, 3), **options: Any
) -> hubopt.KerasLayer:
    """A layer over ``function`` with one input ``x`` declared with ``shape``."""
    spec = tf.TensorSpec(None if shape is UNKNOWN else shape, tf.float32, name="x")
    return hubopt.KerasLayer(tf.function(function, input_signature=[spec]), **options)


def origins(spec: hubopt.TensorSpec) -> list[tuple[int | str, str]]:
    return [(dim.name or dim.size, dim.origin) for dim in spec.dims]


DATA = np.zeros([6, 5], "float32")

SETTLED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Any, list[tuple[int | str, str]]]] = {
    # declared shape, arguments of the layer, flags, data; the resolved dimensions of the input
    "an open batch is one": ((None, 3), {}, {}, None, [(1, "default"), (3, "signature")]),
    "a flag sets the batch": ((None, 3), {}, {"batch": 4}, None, [(4, "flag"), (3, "signature")]),
    "a declared batch stays": ((2, 3), {}, {}, None, [(2, "signature"), (3, "signature")]),
    "a flag may repeat it": ((2, 3), {}, {"batch": 2}, None, [(2, "flag"), (3, "signature")]),
    "a named flag": (
        (None, None),
        {},
        {"input_shapes": ["x=5x7"]},
        None,
        [(5, "flag"), (7, "flag")],
    ),
    "the only input": (
        (None, None),
        {},
        {"input_shapes": ["5x7"]},
        None,
        [(5, "flag"), (7, "flag")],
    ),
    "a flag in part": (
        (None, None),
        {},
        {"input_shapes": ["?x7"]},
        None,
        [(1, "default"), (7, "flag")],
    ),
    "a flag and a batch": (
        (None, None),
        {},
        {"input_shapes": ["?x7"], "batch": 3},
        None,
        [(3, "flag"), (7, "flag")],
    ),
    "the layer's hint": (
        (None, None),
        {"input_shape": [7]},
        {},
        None,
        [(1, "default"), (7, "layer")],
    ),
    "a flag beside the hint": (
        (None, None),
        {"input_shape": [7]},
        {"batch": 9},
        None,
        [(9, "flag"), (7, "layer")],
    ),
    "a flag repeats the hint": (
        (None, None),
        {"input_shape": [7]},
        {"input_shapes": ["2x7"]},
        None,
        [(2, "flag"), (7, "flag")],
    ),
    "unknown rank by flag": (
        UNKNOWN,
        {},
        {"input_shapes": ["2x2"]},
        None,
        [(2, "flag"), (2, "flag")],
    ),
    "unknown rank by hint": (
        UNKNOWN,
        {"input_shape": [4]},
        {},
        None,
        [(1, "default"), (4, "layer")],
    ),
    "unknown rank by data": (UNKNOWN, {}, {}, DATA, [(6, "sample"), (5, "sample")]),
    "scalars per example": (UNKNOWN, {"input_shape": []}, {}, None, [(1, "default")]),
    "scalars per example, declared": (
        (None,),
        {"input_shape": []},
        {},
        None,
        [(1, "default")],
    ),
    "a waveform by flag": ((None,), {}, {"input_shapes": ["16000"]}, None, [(16000, "flag")]),
    "a waveform beside a batch": (
        (None,),
        {},
        {"input_shapes": ["16000"], "batch": 4},
        None,
        [(16000, "flag")],
    ),
    "a waveform by data": ((None,), {}, {}, DATA[:, 0], [(6, "sample")]),
    "scalars per example, batched": ((None,), {}, {"batch": 5}, None, [(5, "flag")]),
    "no dimension at all": ((), {}, {}, None, []),
    "a scalar by flag": (UNKNOWN, {}, {"input_shapes": ["scalar"]}, None, []),
    "data for open dimensions": ((None, None), {}, {}, DATA, [(6, "sample"), (5, "sample")]),
    "the signature before data": ((6, None), {}, {}, DATA, [(6, "signature"), (5, "sample")]),
    "data before the default": ((None, 5), {}, {}, DATA, [(6, "sample"), (5, "signature")]),
    "a dynamic batch": (
        (None, 3),
        {},
        {"input_shapes": ["Bx3"], "dims": ["B=1:8:32"]},
        None,
        [("B", "flag"), (3, "flag")],
    ),
    "two dynamic dimensions": (
        (None, None),
        {},
        {"input_shapes": ["BxT"], "dims": ["B=1:8:32", "T=2:4:8"]},
        None,
        [("B", "flag"), ("T", "flag")],
    ),
    "a dynamic dimension and the hint": (
        (None, None),
        {"input_shape": [7]},
        {"input_shapes": ["Bx?"], "dims": ["B=1:2:3"]},
        None,
        [("B", "flag"), (7, "layer")],
    ),
    "data for a dynamic dimension": (
        (None, None),
        {},
        {"input_shapes": ["Bx?"], "dims": ["B=1:8:32"]},
        DATA,
        [("B", "flag"), (5, "sample")],
    ),
}


@pytest.mark.parametrize("case", SETTLED)
def test_the_source_with_precedence_determines_a_dimension(case: str) -> None:
    shape, options, hints, data, expected = SETTLED[case]
    spec = hubopt.resolve(layer(shape=shape, **options), Hints.parse(**hints), data)
    assert origins(spec.inputs[0]) == expected
    assert spec.outputs[0].named_shape == spec.inputs[0].named_shape
    assert {dim.origin for dim in spec.outputs[0].dims} <= {"trace"}


REFUSED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Any, list[str]]] = {
    # declared shape, arguments of the layer, flags, data; the reported problems
    "open": (
        (None, None),
        {},
        {},
        None,
        [
            "input x: dimension 1 of 1x? is unknown; say --input-shape x=1x128, or other sizes",
        ],
    ),
    "open twice": (
        (None, None, None),
        {},
        {},
        None,
        ["input x: dimensions 1 and 2 of 1x?x? are unknown; say --input-shape x=1x128x128"],
    ),
    "unknown rank": (
        UNKNOWN,
        {},
        {},
        None,
        ["input x: nothing declares its rank; say --input-shape x=1x128, or other sizes"],
    ),
    "a waveform": (
        (None,),
        {},
        {},
        None,
        [
            "input x: its only dimension is open and seems to be a length, as it holds floats; "
            "say --input-shape x=16000, or other sizes; if it is a batch of numbers, say --batch 1",
        ],
    ),
    "ranks": (
        (None, 3),
        {},
        {"input_shapes": ["3"]},
        None,
        ["input x: ranks differ: 3 (flag), ?x3 (signature)"],
    ),
    "batch": (
        (2, 3),
        {},
        {"batch": 4},
        None,
        ["input x: --batch 4, but dimension 0 is 2 (signature)"],
    ),
    "flag against signature": (
        (None, 3),
        {},
        {"input_shapes": ["1x4"]},
        None,
        ["input x: dimension 1 differs: 1x4 (flag), ?x3 (signature)"],
    ),
    "two dimensions differ": (
        (2, 3),
        {},
        {"input_shapes": ["5x4"]},
        None,
        ["input x: dimension 0 differs", "input x: dimension 1 differs"],
    ),
    "hint against signature": (
        (None, 3),
        {"input_shape": [4]},
        {},
        None,
        ["differs: ?x4 (layer), ?x3 (signature)"],
    ),
    "flag against hint": (
        (None, None),
        {"input_shape": [4]},
        {"input_shapes": ["1x5"]},
        None,
        ["input x: dimension 1 differs: 1x5 (flag), ?x4 (layer), ?x? (signature)"],
    ),
    "data against signature": (
        (None, 3),
        {},
        {},
        DATA,
        ["input x: dimension 1 differs: ?x3 (signature), 6x5 (sample)"],
    ),
    "no such input": (
        (None, 3),
        {},
        {"input_shapes": ["y=1x3"]},
        None,
        ["--input-shape y=1x3: no input of this name; inputs: x"],
    ),
    "dtype": (
        (None, 3),
        {},
        {"dtypes": ["int32"]},
        None,
        ["input x: --dtype int32, but the signature takes float32 only"],
    ),
    "output flag against the trace": (
        (None, 3),
        {},
        {"output_shapes": ["1x4"]},
        None,
        ["output output_0: dimension 1 differs: 1x4 (flag), 1x3 (trace)"],
    ),
    "output rank against the trace": (
        (None, 3),
        {},
        {"output_shapes": ["3"]},
        None,
        ["output output_0: ranks differ: 3 (flag), 1x3 (trace)"],
    ),
    "output hint against the trace": (
        (None, 3),
        {"output_shape": [4]},
        {},
        None,
        ["output output_0: dimension 1 differs: 1x4 (layer), 1x3 (trace)"],
    ),
    "output flag against the hint": (
        (None, 3),
        {"output_shape": [3]},
        {"output_shapes": ["1x4"]},
        None,
        ["dimension 1 differs: 1x4 (flag), 1x3 (layer), 1x3 (trace)"],
    ),
    "hint of another structure": (
        (None, 3),
        {"output_shape": {"a": [3]}},
        {},
        None,
        ["output_shape of the layer:"],
    ),
    "no such output": (
        (None, 3),
        {},
        {"output_shapes": ["y=1x3"]},
        None,
        ["--output-shape y=1x3: no output of this name; outputs: output_0"],
    ),
    "no bounds": (
        (None, 3),
        {},
        {"input_shapes": ["Bx3"]},
        None,
        ["input x: dimension B has no bounds; say --dim B=1:8:32"],
    ),
    "bounds of nothing": (
        (None, 3),
        {},
        {"dims": ["T=1:8:32"]},
        None,
        ["--dim T=1:8:32: no --input-shape has a dimension T"],
    ),
    "dynamic against the signature": (
        (4, 3),
        {},
        {"input_shapes": ["Bx3"], "dims": ["B=1:8:32"]},
        None,
        ["input x: dimension 0 differs: Bx3 (flag), 4x3 (signature)"],
    ),
    "dynamic against --batch": (
        (None, 3),
        {},
        {"input_shapes": ["Bx3"], "dims": ["B=1:8:32"], "batch": 4},
        None,
        ["input x: --batch 4, but dimension 0 is B (flag)"],
    ),
    "a name that no input has": (
        (None, 3),
        {},
        {"output_shapes": ["Kx3"]},
        None,
        [
            "output output_0: no input has a dimension K; say --output-shape 'output_0=?x3' for "
            "sizes that depend on the data",
        ],
    ),
    "inputs and outputs at once": (
        (None, None, 3),
        {"output_shape": [None, 4]},
        {"dtypes": ["int32"], "output_shapes": ["z=1"]},
        None,
        ["input x: dimension 1 of 1x?x3 is unknown", "input x: --dtype int32"],
    ),
    "an output conflict beside an open input": (
        (None, None, 3),
        {"output_shape": [None, 4]},
        {},
        None,
        [
            "input x: dimension 1 of 1x?x3 is unknown",
            "output output_0: dimension 2 differs: 1x?x4 (layer), 1x?x3 (trace)",
        ],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_conflicting_or_open_dimensions_are_reported(case: str) -> None:
    shape, options, hints, data, texts = REFUSED[case]
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(layer(shape=shape, **options), Hints.parse(**hints), data)
    assert len(caught.value.problems) == len(texts)
    for problem, expected in zip(caught.value.problems, texts, strict=True):
        assert expected in problem


def test_there_are_at_least_forty_cases() -> None:
    assert len(SETTLED) + len(REFUSED) >= 40


def uncompilable(tensor: Any) -> Any:
    """Hide the shape behind an operation that XLA lacks."""
    text = tf.strings.as_string(tf.random.shuffle(tf.shape(tensor)))
    return tf.reshape(tensor, tf.strings.to_number(text, tf.int32) * 0 + tf.shape(tensor))


def two_inputs(nest: Any, function: Callable[[Any], Any]) -> hubopt.KerasLayer:
    return hubopt.KerasLayer(tf.function(function, input_signature=[nest]))


def test_every_problem_of_every_input_is_reported_at_once() -> None:
    two = [tf.TensorSpec([None, None], tf.float32, name) for name in ("a", "b")]
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(two_inputs(two, lambda nest: nest[0]), Hints.parse(["a=1x2x3"], ["b=int32"]))
    problems = caught.value.problems
    assert len(problems) == 3
    assert problems[0].startswith("input b: dimension 1 of 1x? is unknown")
    assert problems[1].startswith("input a: ranks differ")
    assert problems[2].startswith("input b: --dtype int32")


def test_a_shape_without_a_name_serves_every_input_of_its_rank() -> None:
    nest = {
        "ids": tf.TensorSpec([None, None], tf.int32),
        "mask": tf.TensorSpec([None, None], tf.int32),
        "image": tf.TensorSpec([None, 4, 4, 3], tf.float32),
        "segments": tf.TensorSpec([None, None], tf.int32),
    }
    several = two_inputs(nest, lambda inputs: {"mean": tf.reduce_mean(inputs["image"], [1, 2, 3])})
    spec = hubopt.resolve(several, Hints.parse(["1x128", "segments=1x2"]))
    shapes = {tensor.name: tensor.shape for tensor in spec.inputs}
    assert shapes == {
        "ids": (1, 128),
        "mask": (1, 128),
        "image": (1, 4, 4, 3),
        "segments": (1, 2),
    }


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"input_shapes": ["1x2x3"]}, r"--input-shape 1x2x3: for which of the 2 inputs\?"),
        ({"dtypes": ["int32"]}, r"--dtype int32: for which of the 2 inputs\? .*--dtype a=int32"),
    ],
)
def test_a_hint_without_a_name_that_fits_several_inputs_or_none(
    hints: dict[str, Any], message: str
) -> None:
    two = [tf.TensorSpec([1], tf.float32, name) for name in ("a", "b")]
    with pytest.raises(SpecError, match=message):
        hubopt.resolve(two_inputs(two, lambda nest: nest[0]), Hints.parse(**hints))


def test_a_list_of_inputs_keeps_its_names() -> None:
    two = [tf.TensorSpec([None, 2], tf.float32, name) for name in ("a", "b")]
    spec = hubopt.resolve(two_inputs(two, lambda nest: nest[0] + nest[1]), Hints(batch=3))
    assert [str(tensor) for tensor in spec.inputs] == ["a: float32 3x2", "b: float32 3x2"]


def test_a_dict_of_inputs_shares_a_dynamic_dimension() -> None:
    nest = {
        "ids": tf.TensorSpec([None, None], tf.int32),
        "mask": tf.TensorSpec([None, None], tf.int32),
    }
    ids = two_inputs(
        nest, lambda inputs: {"pooled": tf.reduce_sum(inputs["ids"] * inputs["mask"], 1)}
    )
    hints = Hints.parse(["ids=BxT", "mask=BxT"], dims=["B=1:2:4", "T=8:16:128"])
    spec = hubopt.resolve(ids, hints)
    assert str(spec) == (
        "in  ids: int32 BxT\nin  mask: int32 BxT\nout pooled: int32 B\n"
        "dim B: 1:2:4\ndim T: 8:16:128"
    )


def test_nested_hints_reach_nested_outputs() -> None:
    def call(x: tf.Tensor) -> Any:
        return [hide_shape(x), {"mean": hide_shape(tf.reduce_mean(x, 1))}]

    spec = hubopt.resolve(layer(call, output_shape=[[3], {"mean": []}]))
    assert [origins(output) for output in spec.outputs] == [
        [(1, "layer"), (3, "layer")],
        [(1, "layer")],
    ]


def test_a_text_embedding_is_resolved(tmp_path: Any) -> None:
    text_embedding(tmp_path / "m")
    embed = hubopt.KerasLayer(tmp_path / "m", output_shape=[20], input_shape=[], dtype=tf.string)
    spec = hubopt.resolve(embed, Hints(batch=4))
    assert str(spec) == "in  texts: string 4\nout output_0: float32 4x20"


def test_a_plain_function_needs_shape_and_dtype() -> None:
    plain = hubopt.KerasLayer(lambda x: x)
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(plain)
    assert len(caught.value.problems) == 2
    spec = hubopt.resolve(plain, Hints.parse(["1x2"], ["int64"]))
    assert str(spec) == "in  input: int64 1x2\nout output_0: int64 1x2"


def test_the_dtype_hint_of_the_layer_fills_a_gap() -> None:
    plain = hubopt.KerasLayer(lambda x: x, dtype=tf.string)
    spec = hubopt.resolve(plain, Hints.parse(["3"]))
    assert (spec.inputs[0].dtype, spec.inputs[0].dtype_origin) == ("string", "layer")


def test_data_fills_the_last_gap() -> None:
    plain = hubopt.KerasLayer(hide_shape)
    spec = hubopt.resolve(plain, data=np.zeros([2, 3], "int64"))
    assert (spec.inputs[0].dtype, spec.inputs[0].dtype_origin) == ("int64", "sample")
    assert origins(spec.outputs[0]) == [(2, "xla"), (3, "xla")]


def test_data_of_another_structure_is_reported() -> None:
    with pytest.raises(SpecError, match="data: "):
        hubopt.resolve(layer(), data={"a": DATA, "b": DATA})


def test_a_flag_states_an_output_that_the_trace_leaves_open() -> None:
    spec = hubopt.resolve(layer(hide_shape, (2, 3)), Hints.parse(output_shapes=["2x3"]))
    assert origins(spec.outputs[0]) == [(2, "flag"), (3, "flag")]


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (["2x4"], r"dimension 1 differs: 2x4 \(flag\), \?x\? \(trace\), 2x3 \(xla\)"),
        (["5x3"], r"dimension 0 differs: 5x3 \(flag\), \?x\? \(trace\), 2x3 \(xla\)"),
    ],
)
def test_xla_contradicts_a_flag(hints: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        hubopt.resolve(layer(hide_shape, (2, 3)), Hints.parse(output_shapes=hints))


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (["2x4"], r"dimension 1 is 4 \(flag\), but a call gives 2x3"),
        (["5x3"], r"dimension 0 is 5 \(flag\), but a call gives 2x3"),
    ],
)
def test_a_call_contradicts_a_flag(hints: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        hubopt.resolve(layer(uncompilable, (2, 3)), Hints.parse(output_shapes=hints))


def test_a_call_contradicts_the_layers_hint() -> None:
    message = r"output output_0: dimension 1 is 4 \(layer\), but a call gives 2x3"
    with pytest.raises(SpecError, match=message):
        hubopt.resolve(layer(uncompilable, (2, 3), output_shape=[4]))


def dynamic(function: Callable[..., Any], **hints: Any) -> hubopt.ModelSpec:
    return hubopt.resolve(
        layer(function, (None, 3)), Hints.parse(["Bx3"], dims=["B=1:8:32"], **hints)
    )


def test_an_output_dimension_follows_the_input_dimension_it_equals() -> None:
    spec = dynamic(lambda x: {"same": x * 2.0, "twice": tf.concat([x, x], 0), "sum": x[0]})
    shapes = {output.name: output.named_shape for output in spec.outputs}
    assert shapes == {"same": ("B", 3), "sum": (3,), "twice": ("twice_0", 3)}
    assert {output.name: output.shape for output in spec.outputs}["twice"] == (16, 3)


def test_a_static_flag_for_a_dimension_that_varies_is_refused() -> None:
    with pytest.raises(SpecError, match=r"dimension 0 is 16 \(flag\), but it varies"):
        dynamic(lambda x: tf.concat([x, x], 0), output_shapes=["16x3"])


def test_a_dynamic_dimension_that_only_a_flag_can_name() -> None:
    spec = dynamic(hide_shape, output_shapes=["Bx3"])
    assert origins(spec.outputs[0]) == [("B", "flag"), (3, "flag")]
    with pytest.raises(SpecError, match=r"dimension 0 is B \(flag\), but a call gives 16x3"):
        dynamic(lambda x: hide_shape(tf.concat([x, x], 0)), output_shapes=["Bx3"])


def test_a_dynamic_dimension_lost_in_the_trace_is_found_by_xla() -> None:
    assert origins(dynamic(hide_shape).outputs[0]) == [("B", "xla"), (3, "xla")]
    spec = dynamic(lambda x: hide_shape(tf.concat([x, x], 0)))
    assert origins(spec.outputs[0]) == [("output_0_0", "xla"), (3, "xla")]
    assert spec.outputs[0].shape == (16, 3)
    assert not spec.data_dependent


def test_a_dynamic_dimension_lost_in_the_trace_is_found_by_calls() -> None:
    assert origins(dynamic(uncompilable).outputs[0]) == [("B", "run"), (3, "run")]


def test_an_input_too_large_to_sample_is_refused_before_drawing() -> None:
    with pytest.raises(SpecError, match="100000000000x3 is 1200.0 GB a sample; at most 2.1 GB"):
        hubopt.resolve(layer(), Hints(batch=10**11))
    with pytest.raises(SpecError, match="Bx3 is 1200.0 GB a sample; at most 2.1 GB"):
        hubopt.resolve(layer(), Hints.parse(["Bx3"], dims=["B=1:1:100000000000"]))


def test_a_layer_that_rejects_the_inputs_is_reported() -> None:
    message = "calling it with x: float32 1x3 fails: ValueError: .*Dimensions must be equal"
    with pytest.raises(TraceError, match=message):
        hubopt.resolve(layer(lambda x: tf.matmul(x, tf.zeros([4, 4]))))


def test_a_model_that_returns_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="outputs: the model returns nothing"):
        hubopt.resolve(layer(lambda x: {}))


def test_a_function_is_wrapped() -> None:
    spec = hubopt.resolve(lambda x: x + 1, Hints.parse(["2"], ["int32"]))
    assert str(spec) == "in  input: int32 2\nout output_0: int32 2"
    assert hubopt.trace(lambda x: x + 1, spec).spec == spec


def test_ragged_outputs_are_refused() -> None:
    ragged = layer(lambda x: tf.RaggedTensor.from_tensor(x))
    with pytest.raises(TraceError, match="it returns RaggedTensor"):
        hubopt.resolve(ragged)


def test_ragged_and_sparse_inputs_are_refused_with_the_reason(tmp_path: Any) -> None:
    tf.saved_model.save(ragged_and_sparse(), str(tmp_path / "m"))
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(hubopt.KerasLayer(tmp_path / "m"))
    sparse, ragged = caught.value.problems
    assert sparse.startswith("input bag: it is a sparse tensor (float32 ?x9), which is several")
    assert sparse.endswith("its indices, values and dense shape, and makes it by tf.SparseTensor")
    assert ragged.startswith("input words: it is a ragged tensor (float32 ?x?), which is several")
    assert "tf.RaggedTensor.from_row_splits" in ragged


def test_outputs_with_the_same_name_are_refused() -> None:
    clash = layer(lambda x: {"a/b": x, "a": {"b": x}})
    with pytest.raises(SpecError, match="two of them would have one name: a/b, a/b"):
        hubopt.resolve(clash)


def test_the_output_key_names_the_output(tiny: Any) -> None:
    chosen = hubopt.KerasLayer(tiny, signature="serving_default", output_key="sum")
    assert [output.name for output in hubopt.resolve(chosen).outputs] == ["sum"]


def test_a_layer_of_keras_3_is_resolved_too() -> None:
    from hubopt.keras3 import KerasLayer

    function = tf.function(hide_shape, input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    spec = hubopt.resolve(KerasLayer(function, input_shape=[3], output_shape=[3]), Hints(batch=2))
    assert origins(spec.inputs[0]) == [(2, "flag"), (3, "layer")]


SIZES = st.none() | st.integers(1, 3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    declared=st.none() | st.lists(SIZES, max_size=3),
    flag=st.none() | st.lists(SIZES | st.just("D"), max_size=3),
    hint=st.none() | st.lists(SIZES, max_size=2),
    batch=st.none() | st.integers(1, 3),
    data=st.none() | st.lists(st.integers(1, 3), max_size=3),
    bounded=st.booleans(),
)
def test_resolved_dimensions_are_known_and_come_from_their_source(
    declared: Any, flag: Any, hint: Any, batch: Any, data: Any, bounded: bool
) -> None:
    options = {} if hint is None else {"input_shape": hint}
    built = layer(shape=UNKNOWN if declared is None else declared, **options)
    hints = Hints(
        input_shapes=() if flag is None else (("x", tuple(flag)),),
        batch=batch,
        bounds=(("D", hubopt.Bounds(1, 2, 3)),) if bounded else (),
    )
    array = None if data is None else np.zeros(data, "float32")
    try:
        spec = hubopt.resolve(built, hints, array)
    except SpecError:
        return
    sources = {
        "flag": flag,
        "layer": None if hint is None else [None, *hint],
        "signature": declared,
        "sample": data,
    }
    for at, dim in enumerate(spec.inputs[0].dims):
        assert dim.size >= 1
        if dim.origin == "default":
            assert (at, dim.size) == (0, 1)
        elif dim.origin == "flag" and at == 0 and batch is not None:
            assert dim.size == batch
        else:
            source = sources[dim.origin]
            assert source is not None
            assert source[at] == (dim.name or dim.size)
        # Every other source that gives a size must agree.
        for origin, source in sources.items():
            if (
                source is not None
                and source[at] is not None
                and not (origin == "sample" and dim.name)
            ):
                assert source[at] == (dim.name or dim.size)
    assert spec.outputs[0].named_shape == spec.inputs[0].named_shape
