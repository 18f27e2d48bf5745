"""Converts hubopt's values to JSON and back; types are checked strictly, never coerced."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

T = TypeVar("T")

_ENCODE = json.JSONEncoder(allow_nan=False).encode
_SHOWN = 60
"""How many characters of an invalid value are shown."""
_SPECIAL = ("inf", "-inf", "nan")
"""Floats that JSON lacks, in the form that `plain` writes."""


def to_json(value: Any) -> str:
    """Return any of hubopt's values as JSON; a list of numbers is written on one line."""
    return _lines(plain(value), "")


def _lines(value: Any, margin: str) -> str:
    """Return plain data as JSON, indented by ``margin``.

    `json.dumps` with an indent is not used, as it handles thousands of timings one by one.
    """
    deeper = f"{margin}  "
    if isinstance(value, dict) and value:
        items = [f"{deeper}{_ENCODE(str(key))}: {_lines(value[key], deeper)}" for key in value]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(value, list | tuple) and not all(type(item) in (int, float) for item in value):
        items = [f"{deeper}{_lines(item, deeper)}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{margin}]"
    return _ENCODE(value)


def plain(value: Any) -> Any:
    """Return any of hubopt's values as JSON types: mappings, lists, strings and numbers."""
    return _converter().unstructure(value)


def from_json(text: str, kind: type[T]) -> T:
    """Return the value of class ``kind`` from the JSON that `to_json` made of it."""
    value: T = _converter().structure(json.loads(text), kind)
    return value


def structure(raw: Any, kind: type[T]) -> tuple[T | None, list[str]]:
    """Return the value of class ``kind`` from plain data, or all reasons why it is invalid.

    Args:
        raw: What `json.loads` returned.
        kind: One of hubopt's dataclasses.
    """
    from cattrs import BaseValidationError, transform_error

    try:
        return _converter().structure(raw, kind), []
    except BaseValidationError as error:
        return None, transform_error(error, format_exception=_reason)


def _reason(error: BaseException, kind: Any) -> str:
    from cattrs import ForbiddenExtraKeysError

    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(error.extra_fields))}"
    return " ".join(str(error).split()) or type(error).__name__


@cache
def _converter() -> Any:
    from cattrs.cols import homogenous_tuple_structure_factory
    from cattrs.gen import make_mapping_structure_fn
    from cattrs.preconf.json import make_converter

    converter = make_converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(
        float, lambda value: value if math.isfinite(value) else str(value)
    )
    converter.register_unstructure_hook(Path, str)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Path, lambda text, _: Path(_exactly(str)(text, str)))

    @converter.register_structure_hook_factory(_is_homogenous_tuple)
    def structure_tuple(kind: Any) -> Any:
        return _only_of(list, homogenous_tuple_structure_factory(kind, converter))

    @converter.register_structure_hook_factory(_is_mapping)
    def structure_mapping(kind: Any) -> Any:
        return _only_of(dict, make_mapping_structure_fn(kind, converter, dict))

    return converter


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    """Return a hook that accepts only values of ``kind``; a bool is not an int."""

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{_shown(value)} is not of type {kind.__name__}")
        return value

    return structure


def _float(value: Any, _: Any) -> float:
    if type(value) in (int, float) or value in _SPECIAL:
        return float(value)
    raise TypeError(f"{_shown(value)} is not a number")


def _only_of(kind: type, structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return ``structure`` limited to values of ``kind``: it takes any iterable, even a string."""

    def checked(value: Any, target: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{_shown(value)} is not of type {kind.__name__}")
        return structure(value, target)

    return checked


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_homogenous_tuple(kind: Any) -> bool:
    arguments = get_args(kind)
    return get_origin(kind) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) in (dict, Mapping)
