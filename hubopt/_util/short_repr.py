"""`short_repr`: the repr of a dataclass that never floods a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

_MOST = 1200
"""Characters: 15 lines of 80 columns."""
_MOST_OF_A_FIELD = 160
_MOST_ITEMS = 3


def short_repr(value: Any) -> str:
    """Return ``Class(field=..., ...)``: long fields are cut, and fields of their default left out.

    A class uses it by ``__repr__ = short_repr``; the fields themselves hold everything.
    """
    given = [
        f"{field.name}={_short(getattr(value, field.name))}"
        for field in fields(value)
        if not _is_default(field, getattr(value, field.name))
    ]
    text = f"{type(value).__name__}({', '.join(given)})"
    return text if len(text) <= _MOST else f"{text[: _MOST - 4]}...)"


def _is_default(field: Any, value: Any) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return default is not MISSING and type(default) is type(value) and bool(default == value)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        items = [f"{key!r}: {_short(value[key])}" for key in list(value)[:_MOST_ITEMS]]
        text = "{" + ", ".join([*items, *_more(len(value))]) + "}"
    elif isinstance(value, list | tuple):
        text = "(" + ", ".join([*map(_short, value[:_MOST_ITEMS]), *_more(len(value))]) + ")"
    elif is_dataclass(value):
        text = repr(value).replace("\n", "; ")
    else:
        text = repr(value)
    return text if len(text) <= _MOST_OF_A_FIELD else f"{text[: _MOST_OF_A_FIELD - 3]}..."


def _more(count: int) -> list[str]:
    return [f"{count - _MOST_ITEMS} more"] if count > _MOST_ITEMS else []
