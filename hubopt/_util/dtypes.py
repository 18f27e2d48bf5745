"""NumPy dtypes by their TensorFlow names."""

from __future__ import annotations

from typing import Any

import numpy as np


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype with the TensorFlow name ``name``."""
    if name == "bfloat16":
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return dtype
    return np.dtype("object" if name == "string" else name)
