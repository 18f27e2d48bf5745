"""Reading the user's own data and fitting it to a model."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt.errors import UsageError
from hubopt.hints import Hints
from hubopt.layers.interface import Declared, Interface
from hubopt.programs.data_fit import first_sample, fit_data
from hubopt.sampling.arrays import write_samples
from hubopt.sampling.samples import draw
from hubopt.sampling.user_data import DataError, describe_data, read_data
from hubopt.spec import DTYPES, Bounds, Dim, ModelSpec, TensorSpec, ValueRange

RNG = np.random.default_rng(0)
TABLE = ValueRange(0, 99, "GatherV2 of 100 rows (word/lookup)", strict=True)


def tensor(name: str, dtype: str, *shape: int | str) -> TensorSpec:
    dims = (Dim(s, "flag") if isinstance(s, int) else Dim(4, "flag", s) for s in shape)
    return TensorSpec(name, dtype, tuple(dims))


def model(*inputs: TensorSpec, structure: Any = None, **bounds: Bounds) -> ModelSpec:
    names = [spec.name for spec in inputs]
    structure = structure or (names[0] if len(names) == 1 else {name: name for name in names})
    return ModelSpec(inputs, (tensor("y", "float32", 1),), structure, "y", bounds)


IMAGE = model(tensor("image", "float32", 1, 8, 8, 3))
BATCH = model(tensor("image", "float32", 4, 8, 8, 3))
IDS = model(tensor("ids", "int32", 1, 6))
TEXT = model(tensor("text", "string", 2))
TWO = model(tensor("ids", "int32", 1, 6), tensor("mask", "int32", 1, 6))
PICTURES = RNG.random((12, 8, 8, 3), dtype="float32")
INDICES = RNG.integers(0, 100, (5, 6))


def fitted(source: Any, spec: ModelSpec, limit: int = 100, **domains: ValueRange) -> list[Any]:
    return fit_data(read_data(source, limit), spec, limit, domains)


def problems(source: Any, spec: ModelSpec, limit: int = 100, **domains: ValueRange) -> list[str]:
    with pytest.raises(DataError) as caught:
        fitted(source, spec, limit, **domains)
    return list(caught.value.problems)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


# --- reading ---


def test_an_npz_has_arrays_by_input_name(tmp_path: Path) -> None:
    source = npz(tmp_path / "one.npz", mask=np.ones((1, 6), "int32"), ids=INDICES[:1])
    (sample,) = fitted(source, TWO)
    assert list(sample) == ["ids", "mask"]
    assert {array.dtype.name for array in sample.values()} == {"int32"}
    np.testing.assert_array_equal(sample["ids"], INDICES[:1])


def test_the_only_input_may_have_any_name(tmp_path: Path) -> None:
    (sample,) = fitted(npz(tmp_path / "one.npz", arr_0=PICTURES[:1]), IMAGE)
    np.testing.assert_array_equal(sample["image"], PICTURES[:1])


def test_an_npy_is_one_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PICTURES)
    assert len(fitted(tmp_path / "x.npy", IMAGE)) == 12


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for at in (2, 0, 1):
        np.save(tmp_path / f"{at}.npy", PICTURES[at])
    (tmp_path / "notes.md").write_text("not data")
    samples = fitted(str(tmp_path), IMAGE)
    np.testing.assert_array_equal(np.concatenate([s["image"] for s in samples]), PICTURES[:3])


def test_every_line_of_a_text_file_is_one_text(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("naïve\r\n\nthe last\nline".encode())
    first, second = fitted(path, TEXT)
    assert first["text"].tolist() == ["naïve".encode(), b""]
    assert second["text"].tolist() == [b"the last", b"line"]
    for shape in ((), (1,), (1, 1)):
        samples = fitted(path, model(tensor("text", "string", *shape)))
        assert [sample["text"].shape for sample in samples] == [shape] * 4
        assert [sample["text"].ravel()[0] for sample in samples][2] == b"the last"


@pytest.mark.parametrize("dtype", DTYPES)
def test_data_that_hubopt_wrote_is_read_back(dtype: str, tmp_path: Path) -> None:
    spec = model(tensor("a", dtype, 2, 3), tensor("b", dtype, 2))
    drawn = [sample.tensors for sample in draw(spec.inputs, count=2)]
    write_samples(tmp_path / "inputs.npz", drawn)
    again = fitted(tmp_path / "inputs.npz", spec)
    assert len(again) == len(drawn)
    for one, other in zip(drawn, again, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
            assert array.dtype == other[name].dtype


def test_data_may_come_from_an_attribute_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\n"
        "def ones():\n"
        "    while True:\n"
        "        yield {'ids': np.ones((1, 6), 'int64')}\n"
        "class Sets:\n"
        "    table = {'ids': np.zeros((3, 6), 'int32')}\n"
        "def broken():\n"
        "    yield {'ids': np.ones((1, 6), int)}\n"
        "    raise RuntimeError('no more disk')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(fitted("my_data:ones", IDS, limit=7)) == 7
    assert len(fitted("my_data:Sets.table", IDS)) == 3
    with pytest.raises(UsageError, match="data my_data:broken: it raises RuntimeError: no more"):
        read_data("my_data:broken", 5)
    for name in ("my_data:nothing", "no_such_module:x"):
        with pytest.raises(UsageError, match="PYTHONPATH"):
            read_data(name, 5)


def test_data_may_be_python_objects() -> None:
    import tensorflow as tf

    def generator() -> Iterator[Any]:
        yield from ({"image": picture} for picture in PICTURES)

    sources = [
        list(PICTURES),
        iter(PICTURES),
        generator,
        generator(),
        PICTURES,
        {"image": PICTURES},
        lambda: {"image": PICTURES},
        tf.data.Dataset.from_tensor_slices(PICTURES),
        tf.data.Dataset.from_tensor_slices({"image": PICTURES}).batch(1),
    ]
    for source in sources:
        samples = fitted(source, IMAGE)
        assert len(samples) == 12
        np.testing.assert_array_equal(samples[3]["image"], PICTURES[3:4])


def test_strings_of_every_kind_become_bytes() -> None:
    import tensorflow as tf

    for texts in (
        ["né", "b"],
        np.array(["né", "b"]),
        np.array(["né".encode(), b"b"]),
        tf.constant(["né", "b"]),
        np.array(["né", b"b"], object),
    ):
        (sample,) = fitted([{"text": texts}], TEXT)
        assert sample["text"].dtype == object
        assert sample["text"].tolist() == ["né".encode(), b"b"]


def test_an_item_may_be_packed_as_the_layer_takes_its_inputs() -> None:
    inputs = tensor("left", "float32", 1), tensor("right", "float32", 1)
    one, two = np.array([1.0]), np.array([2.0])
    listed = model(*inputs, structure=["left", "right"])
    for item in ([one, two], (one, two), {"left": one, "right": two}):
        (sample,) = fitted([item], listed)
        assert (sample["left"], sample["right"]) == (1, 2)
    nested = model(*inputs, structure={"pair": ["left", "right"]})
    (sample,) = fitted([{"pair": [one, two]}], nested)
    assert sample["right"] == 2


def test_at_most_the_limit_is_taken() -> None:
    endless = ({"ids": np.full((1, 6), at)} for at in itertools.count())
    assert len(read_data(endless, 5)) == 5
    assert next(endless)["ids"][0, 0] == 5, "no further item was read"
    assert len(fitted(PICTURES, IMAGE, limit=5)) == 5
    assert len(fitted([PICTURES, PICTURES], IMAGE, limit=15)) == 15


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no/such/path.npz", "data no/such/path.npz: it does not exist"),
        (__file__, "files .py are not read"),
        ("os.path:sep", "it is of type str"),
        (3, "it is of type int"),
        ([], "data: it has no items"),
    ],
)
def test_a_source_without_data_is_reported(source: Any, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_data(source, 5)
    assert text in str(caught.value)


def test_a_folder_without_data_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the folder has no such file"):
        read_data(tmp_path, 5)


def test_nothing_is_unpickled_and_every_broken_file_is_reported(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.write_text, (tmp_path / "exploded", "x"))

    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    npz(tmp_path / "b.npz", text=np.array([Bomb()], object))
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "d.npy").write_bytes(b"no array")
    (tmp_path / "e.npy").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_data(tmp_path, 100)
    pickled = "found pickled Python objects, expected arrays of numbers, bytes or str"
    found = caught.value.problems
    assert found[:2] == (f"a.npy: {pickled}", f"b.npz: {pickled}")
    assert [problem[:5] for problem in found[2:]] == ["c.npz", "d.npy", "e.npy"]
    assert "save strings as bytes or str arrays" in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_data_is_described_by_its_name() -> None:
    assert describe_data("my:data") == "my:data"
    assert describe_data(Path("x.npz")) == "x.npz"
    assert describe_data([]) == "a list in Python"
    assert describe_data(read_data) == "hubopt.sampling.user_data:read_data"


# --- fitting to the model ---


def test_a_stack_of_samples_and_batches_are_split() -> None:
    for shape in ((12, 8, 8, 3), (3, 4, 8, 8, 3)):
        samples = fitted({"image": PICTURES.reshape(shape)}, BATCH)
        assert [sample["image"].shape for sample in samples] == [(4, 8, 8, 3)] * 3
        np.testing.assert_array_equal(samples[2]["image"], PICTURES[8:])


def test_a_remainder_is_reported_not_dropped() -> None:
    assert problems({"image": PICTURES[:10]}, BATCH) == [
        "data, input image: found 10 along the batch axis; expected a multiple of the batch, 4; "
        "say --batch 1, or leave out the last 2"
    ]
    assert len(fitted({"image": PICTURES[:10]}, BATCH, limit=2)) == 2


def test_a_dynamic_batch_takes_any_size_within_its_bounds() -> None:
    spec = model(tensor("image", "float32", "n", 8, 8, 3), n=Bounds(1, 4, 8))
    sizes = [len(sample["image"]) for sample in fitted([PICTURES[:7], PICTURES[0]], spec)]
    assert sizes == [7, 1]
    assert [len(sample["image"]) for sample in fitted(PICTURES[:11], spec)] == [4, 4, 3]
    spec = model(tensor("ids", "int32", 1, "n"), n=Bounds(2, 4, 8))
    assert problems([np.ones((1, 9), int)], spec) == [
        "data, item 0, input ids: found 1x9; expected 1xn, or several of it; n is 2:4:8"
    ]


def test_a_dynamic_dimension_is_the_same_in_all_inputs() -> None:
    inputs = tensor("ids", "int32", 1, "n"), tensor("mask", "int32", 1, "n")
    spec = model(*inputs, n=Bounds(1, 4, 8))
    item = {"ids": np.ones((1, 5), int), "mask": np.ones((1, 6), int)}
    assert problems([item], spec) == [
        "data, item 0: found sizes 5, 6 of dimension n; expected one size in all inputs"
    ]


def test_every_input_needs_the_same_number_of_samples() -> None:
    assert problems({"ids": INDICES, "mask": INDICES[:3]}, TWO) == [
        "data: found 5 of ids, 3 of mask; expected the same number of samples of each input"
    ]


@pytest.mark.parametrize(
    ("dtype", "given", "found"),
    [
        ("float32", np.arange(3.0), None),
        ("float32", np.arange(3, dtype="float16"), None),
        ("int32", np.arange(3, dtype="int64"), None),
        ("uint8", np.arange(3, dtype="int64"), None),
        ("bool", np.array([True, False, True]), None),
        ("complex64", np.arange(3) * 1j, None),
        ("bfloat16", np.arange(3, dtype="float32"), None),
        ("int32", np.arange(3.0), "floats (float64); expected integers (int32)"),
        ("float32", np.arange(3), "integers (int64); expected floats (float32)"),
        ("float32", np.arange(3, dtype="uint8"), "integers (uint8); expected floats (float32)"),
        ("bool", np.arange(3), "integers (int64); expected booleans (bool)"),
        ("string", np.arange(3), "integers (int64); expected texts (string)"),
        ("int32", np.array(["a", "b", "c"]), "texts; expected integers (int32)"),
        ("int32", np.array([1, None, 2], object), "Python objects; expected integers (int32)"),
        ("int32", np.array([1, 2, 2**31]), "values from 1 to 2147483648; expected -2147483648 to "
         "2147483647, the range of int32"),
        ("uint8", np.array([-1, 0, 1]), "values from -1 to 1; expected 0 to 255, the range of "
         "uint8"),
        ("float32", np.array([1, 2, 1e300]), "1 values too large for float32"),
        ("float32", np.array([1, np.nan, 1]), "1 NaN; expected finite numbers"),
        ("float64", np.array([np.inf, np.nan, 1]), "1 NaN, 1 infinite; expected finite numbers"),
    ],
)  # fmt: skip
def test_the_width_of_a_dtype_may_change_and_its_kind_may_not(
    dtype: str, given: Any, found: str | None
) -> None:
    spec = model(tensor("x", dtype, 3))
    if found is None:
        (sample,) = fitted([given], spec)
        assert sample["x"].dtype.name == dtype
        np.testing.assert_array_equal(sample["x"].astype(given.dtype), given)
    else:
        assert problems([given], spec) == [f"data, item 0, input x: found {found}"]


def test_an_index_outside_its_table_is_refused_with_the_name_of_the_table() -> None:
    assert problems([INDICES[0], INDICES[1] + 90], IDS, ids=TABLE) == [
        f"data, item 1, input ids: found values from {INDICES[1].min() + 90} to "
        f"{INDICES[1].max() + 90}; expected 0 to 99, GatherV2 of 100 rows (word/lookup)"
    ]
    loose = ValueRange(0, 9, "OneHot of 10 classes", strict=False)
    assert len(fitted([INDICES[0]], IDS, ids=loose)) == 1, (
        "a value outside a domain that is not strict is accepted"
    )


def test_wrong_names_are_reported() -> None:
    item = {"ids": INDICES[:1], "attention": INDICES[:1]}
    assert problems([item], TWO) == [
        "data, item 0: found arrays ids, attention; expected ids, mask"
    ]
    assert problems([INDICES], TWO)[0].endswith("expected ids, mask")
    assert "expected image" in problems([(PICTURES[0], 3)], IMAGE)[0]


def test_texts_for_another_input_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert problems(tmp_path, IDS) == ["a.txt, input ids: found texts; expected integers (int32)"]


def test_all_problems_are_reported_at_once_up_to_a_limit(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", ids=INDICES.astype(float), mask=np.ones((5, 7), int))
    npz(tmp_path / "b.npz", ids=INDICES)
    found = problems(tmp_path, TWO)
    assert found == [
        "a.npz, input ids: found floats (float64); expected integers (int32)",
        "a.npz, input mask: found 5x7; expected 1x6, or several of it",
        "b.npz: found arrays ids; expected ids, mask",
    ]
    many = problems([np.ones((1, 6))] * 50, IDS)
    assert len(many) == 21
    assert many[-1] == "and 30 more of this sort"


def test_an_empty_array_is_reported() -> None:
    assert "found 0x8x8x3" in problems([PICTURES[:0]], IMAGE)[0]


# --- the first sample determines shapes ---


@pytest.mark.parametrize(
    ("declared", "hints", "shape"),
    [
        ((None, None, None, 3), Hints(), (1, 8, 8, 3)),
        ((None, None, None, 3), Hints(batch=4), (4, 8, 8, 3)),
        ((None, None, None, 3), Hints(input_shapes=(("", (3, None, 8, 3)),)), (3, 8, 8, 3)),
        ((12, None, None, 3), Hints(), (12, 8, 8, 3)),
        ((None, None, 3), Hints(), (8, 8, 3)),
        (None, Hints(), (12, 8, 8, 3)),
    ],
)
def test_the_first_sample_determines_unknown_shapes(
    declared: Any, hints: Hints, shape: tuple[int, ...]
) -> None:
    interface = Interface((Declared("image", "float32", declared),), "image")
    assert first_sample(read_data(PICTURES, 1), interface, hints).shape == shape


@pytest.mark.parametrize(
    ("array", "hints", "shape"),
    [
        (np.zeros(16000, "float32"), Hints(), (16000,)),
        (np.zeros((5, 16000), "float32"), Hints(), (16000,)),
        (np.zeros(16000, "float32"), Hints(batch=4), (4,)),
        (np.zeros(16000, "float32"), Hints(input_shapes=(("", (8000,)),)), (8000,)),
    ],
)
def test_a_waveform_is_taken_whole(array: Any, hints: Hints, shape: tuple[int, ...]) -> None:
    interface = Interface((Declared("audio", "float32", (None,)),), "audio")
    assert first_sample(read_data([array], 1), interface, hints).shape == shape


@pytest.mark.parametrize("shape", [(0, 4), (0, 1, 4)])
def test_data_without_a_sample_determine_no_shape(shape: tuple[int, ...]) -> None:
    """Otherwise a batch of 0 would be exported and nothing would be compared."""
    interface = Interface((Declared("x", "float32", (None, 4)),), "x")
    with pytest.raises(DataError, match="input x: found no samples in it"):
        first_sample(read_data([np.zeros(shape, np.float32)], 1), interface, Hints())


def test_the_first_sample_is_packed_as_the_layer_takes_it(tmp_path: Path) -> None:
    inputs = Declared("a", None, (None, 6)), Declared("b", None, (None, 6))
    packed = first_sample(
        read_data({"a": INDICES, "b": INDICES[0]}, 1), Interface(inputs, ["a", "b"]), Hints()
    )
    assert [array.shape for array in packed] == [(1, 6), (1, 6)]
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    text = Interface((Declared("text", "string", (None, 1)),), "text")
    assert first_sample(read_data(tmp_path, 1), text, Hints()).tolist() == [[b"one"]]
    with pytest.raises(DataError, match="found arrays c"):
        first_sample(read_data([{"c": 1}], 1), Interface(inputs, ["a", "b"]), Hints())
