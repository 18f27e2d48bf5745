"""XLA's errors are XLA's: they excuse no artifact, and a compiled SavedModel fails with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.parity.deviations import XLA


@tf.function(input_signature=[tf.TensorSpec([1, 5, 5, 2], tf.float32, name="x")])
def resized(x: Any) -> Any:
    """XLA's kernel of this resize is wrong: a fifth of the elements is off by their own size."""
    return tf.image.resize(tf.tanh(x), [7, 9])


@tf.function(input_signature=[tf.TensorSpec([8], tf.float32, name="x")])
def seeded(x: Any) -> Any:
    """XLA draws other numbers from the same seed."""
    return tf.tanh(x) + 0.1 * tf.random.stateless_normal([8], [1, 2])


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by the formula, in float64."""

    def places(size: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.maximum((np.arange(target) + 0.5) * size / target - 0.5, 0)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, size - 1), (at - low)

    wide = x.astype("float64")
    low, high, share = places(x.shape[1], height)
    share = share[None, :, None, None]
    wide = wide[:, low] * (1 - share) + wide[:, high] * share
    low, high, share = places(x.shape[2], width)
    share = share[None, None, :, None]
    return wide[:, :, low] * (1 - share) + wide[:, :, high] * share


def test_the_eager_layer_is_right_and_xla_is_wrong() -> None:
    """If this fails, XLA has been mended, and these tests need another operation."""
    x = np.random.default_rng(0).standard_normal((1, 5, 5, 2)).astype("float32")
    expected = bilinear(np.tanh(x), 7, 9)
    compiled = tf.function(resized.python_function, jit_compile=True)
    assert np.abs(resized(x).numpy() - expected).max() < 1e-5
    assert np.abs(compiled(x).numpy() - expected).max() > 0.1


@pytest.mark.parametrize(
    ("layer", "operation"), [(resized, "ResizeBilinear"), (seeded, "StatelessRandom")]
)
def test_a_wrong_compiled_model_fails_with_the_operation_named(
    layer: Any, operation: str, tmp_path: Path
) -> None:
    bundle = hubopt.export(
        layer,
        ["savedmodel"],
        tmp_path / "out",
        options={"savedmodel.xla": "require"},
        rounds=0,
        samples=4,
        keep_failed=True,
    )
    (compiled,) = bundle.results
    assert (compiled.status, compiled.stage) == ("failed", "parity")
    assert "XLA's own result is off there" in str(compiled.reason)
    assert f"XLA goes wrong in {operation}" in str(compiled.reason)
    assert "--xla off" in str(compiled.reason)
    assert "extremes" in bundle.manifest.samples, "XLA must not remove an edge case"
    assert operation in bundle.manifest.reference.culprits[XLA]
    (again,) = hubopt.rejudge(bundle, "savedmodel")
    assert (again.status, again.reason) == (compiled.status, compiled.reason)


def half_a_pixel_off(x: Any) -> Any:
    return tf.compat.v1.image.resize(tf.tanh(x), [7, 9], align_corners=False)


def another_draw(x: Any) -> Any:
    return tf.tanh(x) + 0.1 * tf.random.stateless_normal([8], [1, 3])


def without_draw(x: Any) -> Any:
    return tf.tanh(x)


def slightly_wrong_beside_a_draw(x: Any) -> Any:
    return seeded(x) * 1.005


@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        (resized, half_a_pixel_off),
        (seeded, another_draw),
        (seeded, without_draw),
        (seeded, slightly_wrong_beside_a_draw),
    ],
)
def test_planted_faults_smaller_than_xlas_error_are_caught(
    layer: Callable[..., Any], fault: Callable[..., Any]
) -> None:
    honest = hubopt.verify(layer, layer, samples=4, noise="full")
    assert honest.status == "verified"
    assert all(XLA not in output.deviations for output in honest.outputs)
    parity = hubopt.verify(fault, layer, samples=4, noise="full")
    assert parity.status == "failed", parity
    assert parity.cause is None, "it has nothing to do with XLA"
