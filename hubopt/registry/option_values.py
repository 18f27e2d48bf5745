"""The values of one option: describe its type, parse a value, find the nearest valid value."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin

from hubopt.registry.problems import nearest

_BOOLS = {
    "true": True,
    "false": False,
    "yes": True,
    "no": False,
    "on": True,
    "off": False,
    "1": True,
    "0": False,
}
_NUMBERS = (int, float)


def type_name(annotation: Any) -> str | None:
    """Return the type of an option in words; None if an option cannot have this type.

    >>> type_name(bool), type_name(Literal["auto", "off"]), type_name(list)
    ('bool', 'auto | off', None)
    """
    if annotation in (bool, int, float, str):
        return str(annotation.__name__)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        if all(isinstance(choice, str) for choice in choices):
            return " | ".join(choices)
    return None


def parse_value(annotation: Any, value: object, least: float | None, most: float | None) -> Any:
    """Return the value of an option, given as a text or as a value of its type.

    Raises:
        ValueError: The option cannot have this value.
    """
    parsed = _of_type(annotation, value)
    if annotation in _NUMBERS and _clipped(parsed, least, most) != parsed:
        raise ValueError(value)
    return parsed


def expected_value(annotation: Any, unit: str, least: float | None, most: float | None) -> str:
    """Return a text that describes the values that an option can have.

    >>> expected_value(int, "bytes", 13, 18)
    'int in bytes, 13 to 18'
    """
    name = type_name(annotation) or str(annotation)
    if annotation is bool:
        return f"{name}: {', '.join(_BOOLS)}"
    if annotation not in _NUMBERS:
        return name
    words = f"{name} in {unit}" if unit else name
    return ", ".join(filter(None, (words, bounds_text(least, most))))


def bounds_text(least: float | None, most: float | None) -> str:
    """Return the bounds of a number as a text; empty if there are none.

    >>> bounds_text(13, 18), bounds_text(1, None)
    ('13 to 18', 'at least 1')
    """
    if least is not None and most is not None:
        return f"{least} to {most}"
    if least is not None:
        return f"at least {least}"
    return "" if most is None else f"at most {most}"


def nearest_value(
    annotation: Any, value: object, least: float | None, most: float | None
) -> str | None:
    """Return the valid value nearest to an invalid one; None if no valid value is near."""
    if annotation in _NUMBERS:
        number = _any_number(value)
        if number is None:
            return None
        inside = _clipped(number, least, most)
        return _shown(annotation, round(inside) if annotation is int else inside)
    choices = _BOOLS if annotation is bool else get_args(annotation)
    return nearest(str(value), choices)


def _of_type(annotation: Any, value: object) -> Any:
    if annotation is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _BOOLS:
            return _BOOLS[value.lower()]
    elif annotation in _NUMBERS:
        return _number(annotation, value)
    elif isinstance(value, str) and (annotation is str or value in get_args(annotation)):
        return value
    raise ValueError(value)


def _number(kind: Any, value: object) -> Any:
    accepted = Integral if kind is int else Real
    if isinstance(value, bool) or not isinstance(value, (accepted, str)):
        raise ValueError(value)
    try:
        number = kind(value)
    except OverflowError as error:
        raise ValueError(value) from error
    if kind is float and not math.isfinite(number):
        raise ValueError(value)
    return number


def _any_number(value: object) -> Any:
    for kind in _NUMBERS:
        try:
            return _number(kind, value)
        except ValueError:
            pass
    return None


def _clipped(number: Any, least: float | None, most: float | None) -> Any:
    if least is not None and number < least:
        return least
    return most if most is not None and number > most else number


def _shown(kind: Any, number: float) -> str:
    return str(int(number) if kind is int else number)
