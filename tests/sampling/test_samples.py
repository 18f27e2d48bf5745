import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from hubopt.sampling.samples import SAMPLE_COUNT, Sample, draw
from hubopt.spec import DTYPES, Bounds, Dim, TensorSpec, ValueRange

TABLE = ValueRange(0, 999, "GatherV2 of 1000 rows", strict=True)
LEVELS = ValueRange(0, 255, "Mul by 1/255")
IMAGE = (2, 32, 48, 3)


def spec(dtype: str, *shape: int | str, name: str = "x") -> TensorSpec:
    dims = (Dim(size, "flag") if isinstance(size, int) else Dim(4, "flag", size) for size in shape)
    return TensorSpec(name, dtype, tuple(dims))


def main(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if not sample.edge]


def edges(samples: Sequence[Sample]) -> Mapping[str, Sample]:
    return {sample.kind: sample for sample in samples if sample.edge}


def kinds(samples: Sequence[Sample]) -> list[str]:
    return [sample.kind for sample in samples]


def values(samples: Sequence[Sample]) -> np.ndarray:
    return np.concatenate([sample.tensors["x"].ravel() for sample in samples])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_drawn_and_only_zeros_are_constant(dtype: str) -> None:
    samples = draw([spec(dtype, 4, 16)])
    assert len(main(samples)) == SAMPLE_COUNT
    for sample in samples:
        array = sample.tensors["x"]
        assert array.shape == (4, 16)
        assert array.dtype.name == ("object" if dtype == "string" else dtype)
        assert (len(set(array.ravel().tolist())) > 1) == (sample.kind != "zeros")


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "string", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(3, 64), IMAGE])
def test_the_seed_determines_the_samples(dtype: str, shape: tuple[int, ...]) -> None:
    one, same, other = (draw([spec(dtype, *shape)], seed=seed) for seed in (1, 1, 2))
    assert kinds(one) == kinds(same) == kinds(other)
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a.tensors["x"], b.tensors["x"])
        assert a.kind == "zeros" or not np.array_equal(a.tensors["x"], c.tensors["x"])


def test_no_two_samples_are_equal() -> None:
    for dtype in ("float32", "int32", "string"):
        samples = draw([spec(dtype, 2, 16)])
        for a, b in itertools.combinations(samples, 2):
            assert not np.array_equal(a.tensors["x"], b.tensors["x"])


def test_four_distributions_alternate() -> None:
    samples = main(draw([spec("float32", 5000)]))
    assert kinds(samples) == ["normal", "uniform", "signed", "heavy-tailed"] * 2
    normal, uniform, signed, heavy = (sample.tensors["x"] for sample in samples[:4])
    assert normal.min() < -3
    assert abs(normal.std() - 1) < 0.1
    assert 0 <= uniform.min() < 0.01 < 0.99 < uniform.max() < 1
    assert -1 <= signed.min() < -0.99
    assert 0.99 < signed.max() < 1
    assert 5 < abs(heavy).max() <= 10


def test_a_count_of_one_gives_one_sample_and_the_edge_cases() -> None:
    assert kinds(draw([spec("float32", 8)], count=1)) == ["normal", "zeros", "extremes", "small"]
    assert kinds(draw([spec("string", 8)], count=1)) == ["texts", "zeros", "extremes"]


def test_the_edge_cases_match_their_names() -> None:
    specs = [spec("float32", 9), spec("int64", 9, name="ids"), spec("int8", 9, name="pixels")]
    found = edges(draw(specs, domains={"ids": TABLE}))
    assert all(not array.any() for array in found["zeros"].tensors.values())
    assert set(found["extremes"].tensors["x"]) == {-3, 3}
    assert set(found["extremes"].tensors["ids"]) == {0, 999}
    assert set(found["extremes"].tensors["pixels"]) == {-128, 127}
    small = found["small"].tensors["x"]
    assert 0 < abs(small).max() < 0.01


def test_pixels_cover_their_whole_range_and_unknown_integers_stay_small() -> None:
    samples = main(draw([spec("uint8", 2000)]))
    assert samples[0].tensors["x"].max() == 7
    assert (values(samples).min(), values(samples).max()) == (0, 255)
    assert values(main(draw([spec("int8", 2000)]))).min() == -128
    assert values(draw([spec("int64", 2000)])).max() == 7


def test_indices_fill_their_table_and_stay_in_it() -> None:
    for dtype in ("int32", "int64", "uint16", "float32"):
        samples = draw([spec(dtype, 1, 500)], domains={"x": TABLE})
        usual = (
            ["uniform", "low"] if dtype == "float32" else ["uniform", "padded", "low", "repeated"]
        )
        assert kinds(main(samples))[: len(usual)] == usual
        assert values(samples).min() >= 0
        assert values(samples).max() <= 999
        assert values(main(samples)).max() > 900
        assert 999 in edges(samples)["extremes"].tensors["x"]


def test_a_single_index_reaches_the_last_row_too() -> None:
    specs = [spec("int32", 1, name=name) for name in ("user", "item")]
    domains = {"user": TABLE, "item": ValueRange(1, 50, "GatherV2 of 50 rows, shifted")}
    found = edges(draw(specs, domains=domains))
    assert found["extremes"].tensors["user"] == 999
    assert found["extremes"].tensors["item"] == 50
    assert found["zeros"].tensors["item"] == 1


def test_a_domain_wider_than_the_dtype_is_clipped_to_it() -> None:
    samples = draw([spec("int8", 100)], domains={"x": TABLE})
    assert edges(samples)["extremes"].tensors["x"].max() == 127
    assert values(samples).min() == 0
    far = draw([spec("uint8", 100)], domains={"x": ValueRange(300, 400, "shifted")})
    assert set(values(far)) == {255}


def test_masks_are_ones_then_zeros() -> None:
    domains = {"mask": ValueRange(0, 1, "its name says mask"), "types": ValueRange(0, 1, "2 rows")}
    specs = [spec("int32", 8, 64, name="mask"), spec("int32", 8, 64, name="types")]
    samples = main(draw(specs, domains=domains))
    masks = np.stack([sample.tensors["mask"] for sample in samples])
    assert set(masks.ravel()) == {0, 1}
    assert (np.diff(masks, axis=-1) <= 0).all()
    assert (masks[..., 0] == 1).all()
    assert len(set(masks.sum(axis=-1).ravel())) > 10
    types = samples[0].tensors["types"]
    assert (np.diff(types, axis=-1) > 0).any()
    assert samples[0].kind == "prefix + uniform"


@pytest.mark.parametrize(
    ("dtype", "domain", "low", "high"),
    [
        ("float32", LEVELS, 0, 255),
        ("float32", ValueRange(0, 1, "Mul by 2, minus 1"), 0, 1),
        ("int32", LEVELS, 0, 255),
        ("uint8", None, 0, 255),
    ],
)
def test_pictures_are_drawn_in_their_range(
    dtype: str, domain: ValueRange | None, low: int, high: int
) -> None:
    samples = draw([spec(dtype, *IMAGE)], domains={"x": domain} if domain else None)
    turns = ["image", "mosaic", "uniform"] if dtype == "float32" else ["image", "uniform"]
    assert kinds(main(samples)) == (turns * 4)[:8]
    assert low <= values(samples).min()
    assert values(samples).max() <= high
    for sample in main(samples):
        spread = np.ptp(sample.tensors["x"].astype(float))
        assert spread > 0.8 * (high - low), "every sample uses the whole range"


def test_pictures_of_unknown_range_are_drawn_in_both_usual_ranges() -> None:
    samples = {sample.kind: sample.tensors["x"] for sample in main(draw([spec("float32", *IMAGE)]))}
    assert list(samples) == [
        "image", "normal", "signed image", "mosaic", "uniform", "heavy-tailed"
    ]  # fmt: skip
    assert 0 <= samples["image"].min() < 0.05
    assert 0.95 < samples["image"].max() < 1
    assert -1 <= samples["signed image"].min() < -0.9


@pytest.mark.parametrize("shape", [IMAGE, (2, 3, 32, 48), (1, 8, 8, 1), (1, 16, 16, 4)])
def test_pictures_are_smooth_with_edges_and_differ_from_each_other(shape: tuple[int, ...]) -> None:
    picture = draw([spec("float32", *shape)])[0]
    assert picture.kind == "image"
    array = picture.tensors["x"]
    sides = (2, 3) if shape[1] == 3 else (1, 2)
    for axis in sides:
        steps = abs(np.diff(array, axis=axis))
        assert np.median(steps) < 0.2, (
            "neighbouring pixels are similar; in noise they differ by 0.3"
        )
    assert abs(np.diff(array, axis=sides[1])).max() > 0.2, "the picture has edges"
    if shape[0] == 2:
        assert not np.array_equal(array[0], array[1])


def test_a_tensor_that_is_no_picture_is_not_drawn_as_one() -> None:
    for shape in ((1, 43844, 1), (1, 7, 7, 3), (1, 32, 32, 64), (3, 32, 32)):
        assert "image" not in kinds(draw([spec("float32", *shape)]))


def test_texts_are_of_many_kinds_and_all_kinds_are_drawn() -> None:
    samples = draw([spec("string", 8)])
    texts = [text.decode() for text in values(main(samples))]
    assert len(set(texts)) > 35
    assert "" not in texts
    assert max(map(len, texts)) > 400
    assert min(map(len, texts)) == 1
    for part in ("\n", "  ", "http", "<", "猫", "ß", "🌍", "1969", "AWFUL"):
        assert any(part in text for text in texts), part
    assert set(edges(samples)["zeros"].tensors["x"]) == {b""}
    assert {len(text) for text in edges(samples)["extremes"].tensors["x"]} > {1}


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "string", "uint8"])
def test_no_two_inputs_are_equal(dtype: str) -> None:
    specs = [spec(dtype, 1, 3, name=name) for name in "abc"]
    for sample in draw(specs, count=40):
        for one, other in itertools.combinations(sample.tensors.values(), 2):
            assert sample.kind == "zeros" or not np.array_equal(one, other), sample.kind


def test_dynamic_sizes_are_the_usual_the_smallest_the_largest_and_random_ones() -> None:
    bounds = {"n": Bounds(1, 4, 16)}
    samples = draw([spec("float32", "n", 8)], bounds=bounds, count=40)
    sizes = [sample.tensors["x"].shape[0] for sample in samples]
    assert sizes[:3] == [4, 1, 16]
    assert min(sizes) == 1
    assert max(sizes) == 16
    assert len(set(sizes)) > 8


@pytest.mark.parametrize("shape", [("n", "n", "n", 3), ("n", 3, "n", "n"), (1, "n", 8, 1)])
def test_pictures_of_dynamic_size_are_drawn_as_pictures(shape: tuple[int | str, ...]) -> None:
    samples = draw([spec("float32", *shape)], bounds={"n": Bounds(1, 9, 12)})
    assert samples[0].kind == "image"
    assert samples[3].kind == "mosaic"
    for sample in main(samples):
        assert np.isfinite(sample.tensors["x"]).all()
        assert spec("float32", *shape).admits(sample.tensors["x"].shape)


def test_a_dynamic_batch_of_pictures_is_drawn_as_pictures() -> None:
    samples = draw([spec("float32", "n", 32, 32, 3)], bounds={"n": Bounds(1, 2, 3)})
    assert [sample.tensors["x"].shape[0] for sample in samples][:3] == [2, 1, 3]
    assert samples[0].kind == "image"


def test_mosaics_hold_several_textures() -> None:
    mosaic = main(draw([spec("float32", 1, 64, 64, 3)]))[3]
    assert mosaic.kind == "mosaic"
    tiles = mosaic.tensors["x"].reshape(4, 16, 4, 16, 3).std(axis=(1, 3)).mean(axis=-1)
    assert tiles.min() < 0.05, "a plain tile"
    assert tiles.max() > 0.4, "and a busy one"


def test_indices_are_alternately_padded_and_repeated() -> None:
    samples = main(draw([spec("int32", 4, 50)], domains={"x": TABLE}))
    padded, repeated = samples[1].tensors["x"], samples[3].tensors["x"]
    assert (padded[:, -1] == 0).any()
    assert (repeated == repeated[:, :1]).all()
    assert len(set(repeated[:, 0])) > 1
