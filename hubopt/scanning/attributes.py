"""The literal attributes of a node.

Inside a function an attribute can be a placeholder, which the caller of the function fills in.
The functions below return None for it, and code that uses them must then assume the worst.
"""

from __future__ import annotations

from typing import Any


def literal(node: Any, name: str, kind: str, default: Any = None) -> Any:
    """Return the value of an attribute.

    Args:
        node: The ``NodeDef``.
        name: The attribute's name.
        kind: The field of ``AttrValue`` that must hold it, such as ``s`` or ``tensor``.
        default: The attribute's default in the registry, for a node that lacks it; None for an
            attribute without a default.

    Returns:
        The value; None if it is not a literal of that kind.
    """
    if name not in node.attr:  # reading a missing attribute would add it
        return default
    value = node.attr[name]
    return getattr(value, kind) if value.WhichOneof("value") == kind else None


def strings(node: Any) -> tuple[bytes, ...] | None:
    """Return all strings of a constant; None if the node is not a literal string constant."""
    if node is None or node.op != "Const":
        return None
    tensor = literal(node, "value", "tensor")
    if tensor is None or tensor.tensor_content or tensor.dtype != literal(node, "dtype", "type"):
        return None
    dtype_string = 7
    return tuple(tensor.string_val) if tensor.dtype == dtype_string else None
