"""A loaded artifact is called like the layer."""

from pathlib import Path

import numpy as np
import pytest

import hubopt
from hubopt.errors import UsageError


@pytest.mark.parametrize("target", ["savedmodel", "tflite", "onnx"])
def test_a_loaded_artifact_is_called_like_the_layer(
    tiny_bundle: hubopt.Bundle, tiny: Path, target: str
) -> None:
    inputs = {"left": np.ones((1, 8), "float32"), "right": np.full((1, 8), 0.5, "float32")}
    artifact = hubopt.load(tiny_bundle.path, target)
    layer = hubopt.KerasLayer(tiny)
    expected = layer(inputs)
    actual = artifact(inputs)
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="a mapping with keys"):
        artifact(inputs["left"])
    for odd, message in (
        (np.ones((2, 8), "float32"), "input left: float32 2x8\n  expected: float32 1x8"),
        (np.ones((1, 8), "complex64"), "input left: complex64 1x8"),
    ):
        with pytest.raises(UsageError, match=message):
            artifact(inputs | {"left": odd})
    artifact(inputs | {"left": np.ones((1, 8), "float64")})
