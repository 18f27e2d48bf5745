"""The attributes of a node, as far as they are literal.

Inside a function an attribute can be a placeholder, which the caller fills in. What is read here
is then None, and a caller must take the worst for granted.
"""

from __future__ import annotations

from typing import Any


def literal(node: Any, name: str, kind: str, default: Any = None) -> Any:
    """Return the value of an attribute.

    Args:
        node: The ``NodeDef``.
        name: The attribute's name.
        kind: The field of ``AttrValue`` that must hold it, such as ``s`` or ``tensor``.
        default: What the registry gives the attribute where the node has none; None for an
            attribute that it demands.

    Returns:
        The value; None if it is no literal of that kind.
    """
    if name not in node.attr:  # reading it would add it
        return default
    value = node.attr[name]
    return getattr(value, kind) if value.WhichOneof("value") == kind else None


def strings(node: Any) -> tuple[bytes, ...] | None:
    """Return all strings of a constant; None if the node is no literal constant of strings."""
    if node is None or node.op != "Const":
        return None
    tensor = literal(node, "value", "tensor")
    if tensor is None or tensor.tensor_content or tensor.dtype != literal(node, "dtype", "type"):
        return None
    dtype_string = 7
    return tuple(tensor.string_val) if tensor.dtype == dtype_string else None
