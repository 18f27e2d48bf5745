"""Parses protobuf messages that are packed as bytes inside a SavedModel's file."""

from __future__ import annotations

from typing import Any


def parse_variable(content: bytes) -> Any | None:
    """Return the ``VariableDef`` in ``content``, or None if it is something else."""
    from google.protobuf.message import DecodeError

    try:
        return _message("tensorflow.VariableDef").FromString(content)
    except DecodeError:
        return None


def parse_asset(packed: Any) -> Any | None:
    """Return the ``AssetFileDef`` in an ``Any``, or None if it is something else."""
    asset = _message("tensorflow.AssetFileDef")()
    return asset if packed.Unpack(asset) else None


def _message(name: str) -> Any:
    # By name, because TensorFlow's protobuf modules are not public API.
    import tensorflow as tf  # registers its messages  # noqa: F401
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
