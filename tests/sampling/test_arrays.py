from pathlib import Path

import ml_dtypes
import numpy as np

from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.spec import Dim, TensorSpec


def test_samples_are_read_back_unchanged(tmp_path: Path) -> None:
    strings = np.array([[b"a\0", "é".encode()], [b"", b"long " * 9]], dtype=object)
    samples = [
        {
            "a/b": np.float32([[1, np.nan]]),
            "file": np.int64(7) + np.zeros((), np.int64),
            "text": strings,
            "half": np.asarray([1.5, -2], ml_dtypes.bfloat16),
        }
        for _ in range(11)  # past ten, names no longer sort as numbers
    ]
    samples[10]["file"] = np.asarray(10, np.int64)
    write_samples(tmp_path / "x.npz", samples)
    specs = [TensorSpec("half", "bfloat16", (Dim(2, "flag"),))]
    again = read_samples(tmp_path / "x.npz", specs)
    assert len(again) == 11
    assert again[10]["file"] == 10
    for one, other in zip(samples, again, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


def test_the_other_samples_keep_their_numbers_when_some_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_samples(path, {12: {"x": np.float32([12])}, 3: {"x": np.float32([3])}, 4: {}})
    assert sample_numbers(path) == (3, 12)
    assert [sample["x"].item() for sample in read_samples(path, ())] == [3, 12]
    assert [sample["x"].item() for sample in read_samples(path, (), (12, 3))] == [12, 3]
    assert read_samples(path, (), (4, 3)) == [{}, {"x": np.float32([3])}]
    assert read_samples(path, (), ()) == []


def test_reading_needs_no_pickle(tmp_path: Path) -> None:
    write_samples(tmp_path / "x.npz", [{"text": np.array([b"a"], dtype=object)}])
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert archive["0/text"].dtype.kind == "S"


def test_texts_of_any_numpy_dtype_keep_every_byte(tmp_path: Path) -> None:
    """A runner may return fixed-width bytes. Without their last byte a wrong artifact passed."""
    spec = TensorSpec("y", "string", (Dim(2, "flag"),))
    for given in (
        np.array([b"one!", b"two!!"]),
        np.array(["one!", "two!!"]),
        np.array(["one!", "two!!"], object),
        np.array([b"one!", b"two!!"], object),
    ):
        write_samples(tmp_path / "texts.npz", [{"y": given}])
        (sample,) = read_samples(tmp_path / "texts.npz", [spec])
        assert sample["y"].tolist() == [b"one!", b"two!!"]
