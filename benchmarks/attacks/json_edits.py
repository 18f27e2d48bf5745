"""Edits of JSON that stays valid: other types, missing keys, huge numbers, paths outside."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Place = tuple[str | int, ...]

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 10**30, 1e308, -1e308, 0.5, "", "x", "nan", "inf",
    "-inf", "1e999", [], {}, [[]], {"a": None}, "../../outside", "/etc/passwd", "/dev/zero", ".",
    "\x1b[2J\x1b]0;owned\x07", "line\nline", "\u202e", "\x00", "\ud800", "a" * 100_000,
)  # fmt: skip
_MISLEADING = ("verified", "failed", "vacuous", "unverified", "full", "off", "int8", "fp32")


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of every value inside ``value``, but not its own."""
    items: Sequence[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


def edit_json(
    draw: random.Random, value: Any, may: Callable[[Place], bool] = lambda place: True
) -> tuple[Any, str]:
    """Apply one to three edits to plain data.

    Args:
        draw: The random number generator.
        value: The data; a copy is edited.
        may: Returns whether a place may be edited.
    """
    edited = json.loads(json.dumps(value))
    details = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        known = [place for place in places(edited) if may(place)]
        if not known:
            break
        # Choose the depth first, so that long lists of numbers do not get every edit.
        depth = draw.choice(sorted({len(place) for place in known}))
        place = draw.choice([place for place in known if len(place) == depth])
        details.append(_edit(draw, edited, place))
    return edited, "; ".join(details)


def put(value: Any, place: Place, new: Any) -> None:
    """Set the value at ``place``."""
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = new


def get(value: Any, place: Place) -> Any:
    """Return the value at ``place``."""
    for key in place:
        value = value[key]
    return value


def _edit(draw: random.Random, value: Any, place: Place) -> str:
    parent, name = get(value, place[:-1]), ".".join(map(str, place))
    old = parent[place[-1]]
    kind = draw.choice(("value", "value", "value", "near", "drop", "add", "move"))
    if kind == "drop":
        del parent[place[-1]]
        return f"{name} dropped"
    if kind == "add":
        if isinstance(parent, dict):
            parent[draw.choice(("unknown", "", "__class__", "../x", "é"))] = draw.choice(_VALUES)
        else:
            parent.append(old)
        return f"something added beside {name}"
    if kind == "move":
        other = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[place[-1]], parent[other] = parent[other], old
        return f"{name} and {other} exchanged"
    new = _near(draw, old) if kind == "near" else draw.choice((*_VALUES, *_MISLEADING))
    parent[place[-1]] = new
    return f"{name} = {json.dumps(new)[:60]}"


def _near(draw: random.Random, old: Any) -> Any:
    """Return a value of the same type, which passes a check of types."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return draw.choice((old + 1, old - 1, -old, old * 1000, old / 3, 0, 10**12))
    if isinstance(old, str):
        letter = draw.choice("abcdef0123456789")
        return draw.choice((old[:-1], old + letter, letter + old[1:], old.upper(), f"../{old}"))
    if isinstance(old, list):
        return draw.choice((old[:-1], old[1:], old * 2, old[::-1]))
    if isinstance(old, dict):
        return dict(list(old.items())[1:])
    return ""
