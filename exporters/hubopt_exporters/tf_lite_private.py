"""The private parts of TensorFlow's TFLite converter that hubopt uses, and why.

``tests/exporters/test_tf_lite_private.py`` fails with a plain message if an upgrade changes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_converter(saved_model: Path, signature: str) -> Any:
    """Return a ``TFLiteConverter`` of a SavedModel, without loading the model.

    The public ``from_saved_model`` loads it to look at its signatures, and the conversion loads it
    two more times, for debug information, all in Python.
    """
    import tensorflow as tf
    from tensorflow.lite.python import lite

    class Converter(lite.TFLiteSavedModelConverterV2):  # type: ignore[misc]
        def _optimize_tflite_model(self, model: bytes, *settings: Any, **named: Any) -> Any:
            # It unpacks the whole file into Python and packs it again, to share equal buffers.
            if not self.optimizations and not has_twins(model):
                return model
            return super()._optimize_tflite_model(model, *settings, **named)

    return Converter(str(saved_model), {tf.saved_model.SERVING}, [signature])


def convert(converter: Any) -> bytes:
    """Return the flatbuffer that ``converter``, from `open_converter`, makes.

    Unlike the result of the public method, it does not record which TensorFlow wrote it.

    Raises:
        Exception: ``ConverterError``, or whatever MLIR's bindings raise.
    """
    import tensorflow as tf

    # The graph serves only statistics and the settings of quantization.
    flatbuffer: bytes = converter._convert_from_saved_model(tf.compat.v1.GraphDef())
    return flatbuffer


def has_twins(flatbuffer: bytes) -> bool:
    """Whether two of a model's buffers hold the same bytes."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(flatbuffer, 0)
    held = (model.Buffers(at) for at in range(model.BuffersLength()))
    # One at a time, because hashing copies the bytes of a buffer.
    seen = [hash(buffer.DataAsNumpy().tobytes()) for buffer in held if buffer.DataLength()]
    return len(set(seen)) < len(seen)
