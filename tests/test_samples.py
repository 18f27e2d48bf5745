import numpy as np
import pytest

from hubopt.samples import draw
from hubopt.spec import DTYPES, Dim, TensorSpec


def spec(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec("x", dtype, tuple(Dim(size, "flag") for size in shape))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_drawn_and_no_sample_is_constant(dtype: str) -> None:
    for sample in draw([spec(dtype, 4, 16)]):
        array = sample["x"]
        assert array.shape == (4, 16)
        assert array.dtype.name == ("object" if dtype == "string" else dtype)
        assert len(set(array.ravel().tolist())) > 1


def test_the_seed_decides() -> None:
    one, same, other = (draw([spec("float32", 8)], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0]["x"], same[0]["x"])
    assert not np.array_equal(one[0]["x"], other[0]["x"])


def test_two_distributions_take_turns() -> None:
    normal, uniform, *_ = (sample["x"] for sample in draw([spec("float32", 1000)]))
    assert normal.min() < -1
    assert 0 <= uniform.min() < uniform.max() < 1


def test_pixels_cover_their_whole_range_and_indices_stay_small() -> None:
    small, pixels, *_ = (sample["x"] for sample in draw([spec("uint8", 2000)]))
    assert small.max() == 7
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert min(sample["x"].min() for sample in draw([spec("int8", 2000)])) == -128
    assert max(sample["x"].max() for sample in draw([spec("int64", 2000)])) == 7
