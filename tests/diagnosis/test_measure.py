"""Which differences count as a divergence."""

import numpy as np
import pytest

from hubopt.diagnosis.measure import Measure, measure

RANDOM = np.random.default_rng(0)
WIDE = RANDOM.standard_normal((1, 30, 30, 16))
NARROW = (WIDE * (1 + 1e-7 * RANDOM.standard_normal(WIDE.shape))).astype(np.float32)


def measured(found: object) -> Measure:
    return measure([np.asarray(found)], [WIDE], [NARROW])


def test_rounding_is_not_a_divergence() -> None:
    assert not measured((WIDE * (1 - 2e-7)).astype(np.float32)).diverges


def test_one_wrong_element_is_a_divergence() -> None:
    wrong = WIDE.astype(np.float32)
    wrong[0, 3, 4, 5] += 1e-3
    assert measured(wrong).diverges
    assert measured(wrong).share == pytest.approx(1e-3, rel=0.1)


def test_one_slightly_wrong_channel_is_a_divergence_despite_noise_elsewhere() -> None:
    noisy = NARROW.copy()
    noisy[..., 0] *= 1 + 1e-4 * RANDOM.standard_normal(noisy[..., 0].shape).astype(np.float32)
    wrong = WIDE.astype(np.float32)
    assert not measure([wrong], [WIDE], [noisy]).diverges
    wrong[..., 7] *= 1 + 5e-4
    assert measure([wrong], [WIDE], [noisy]).diverges


def test_channels_first_is_transposed_before_comparing() -> None:
    assert not measured(WIDE.astype(np.float32).transpose(0, 3, 1, 2)).diverges


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_or_an_infinity_is_a_divergence(value: float) -> None:
    wrong = WIDE.astype(np.float32)
    wrong[0, 0, 0, 0] = value
    assert measured(wrong).diverges


def test_the_same_infinity_is_not_a_divergence() -> None:
    wide, found = WIDE.copy(), WIDE.astype(np.float32)
    wide[0, 0, 0, 0] = found[0, 0, 0, 0] = -np.inf
    assert not measure([found], [wide], [wide.astype(np.float32)]).diverges


def test_any_sample_counts() -> None:
    good, bad = WIDE.astype(np.float32), WIDE.astype(np.float32) * 1.1
    assert measure([good, bad], [WIDE, WIDE], [NARROW, NARROW]).diverges


def test_another_shape_diverges() -> None:
    assert measured(WIDE[:, :29].astype(np.float32)).diverges


def test_integers_are_compared_exactly() -> None:
    wide = np.arange(100)
    assert not measure([wide.astype(np.int32)], [wide], [wide]).diverges
    assert measure([wide + (wide == 3)], [wide], [wide]).diverges
