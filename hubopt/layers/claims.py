"""Merges the shapes that several sources state for one tensor; conflicts are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt.hints import flag
from hubopt.spec import Bounds, Dim, MaybeShape, Origin, format_shape


@dataclass(frozen=True, slots=True)
class Claim:
    """A shape that one source states, and the source."""

    shape: MaybeShape
    origin: Origin

    def __str__(self) -> str:
        return f"{format_shape(self.shape)} ({self.origin})"


def merge(
    label: str, claims: Sequence[Claim], bounds: Mapping[str, Bounds], problems: list[str]
) -> list[Dim | None] | None:
    """Merge shapes, the strongest claim first.

    Args:
        label: The tensor that the claims are about, such as ``input image``.
        claims: At least one.
        bounds: The sizes that each dimension name in the claims may have.
        problems: Each conflict is appended to it.

    Returns:
        The dimensions, with None for each one that no claim states; None if claims conflict.
    """
    ranks = {len(claim.shape) for claim in claims}
    listed = ", ".join(map(str, claims))
    if len(ranks) > 1:
        problems.append(f"{label}: ranks differ: {listed}")
        return None
    merged: list[Dim | None] = []
    conflicts = 0
    for at in range(ranks.pop()):
        known = [
            _dim(size, claim.origin, bounds)
            for claim in claims
            if (size := claim.shape[at]) is not None
        ]
        if any(not _agree(known[0], other) for other in known[1:]):
            problems.append(f"{label}: dimension {at} differs: {listed}")
            conflicts += 1
        merged.append(known[0] if known else None)
    return None if conflicts else merged


def _dim(size: int | str, origin: Origin, bounds: Mapping[str, Bounds]) -> Dim:
    if isinstance(size, int):
        return Dim(size, origin)
    return Dim(bounds[size].opt if size in bounds else 1, origin, size)


def _agree(one: Dim, other: Dim) -> bool:
    if one.name and other.origin == "sample":  # a sample has one of the allowed sizes
        return True
    return (one.name, None if one.name else one.size) == (
        other.name,
        None if other.name else other.size,
    )


def spread(
    shapes: Mapping[str, MaybeShape], declared: Mapping[str, MaybeShape | None]
) -> dict[str, MaybeShape]:
    """Give a shape without a name to every tensor of its rank that has none of its own.

    Args:
        shapes: The shapes by name; the empty name stands for the shape without one.
        declared: The declared shapes of all tensors; None for unknown rank.
    """
    unnamed = shapes.get("")
    if unnamed is None or len(declared) == 1:
        return dict(shapes)
    served = {
        name: unnamed
        for name, shape in declared.items()
        if shape is not None and len(shape) == len(unnamed)
    }
    named = {name: shape for name, shape in shapes.items() if name or not served}
    return {**served, **named}


def by_name(
    option: str, given: Mapping[str, Any], names: Sequence[str], kind: str, problems: list[str]
) -> dict[str, Any]:
    """Return an option's values by tensor name; an empty name means the only tensor."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        text = value if isinstance(value, str) else format_shape(value)
        if name in names:
            result[name] = value
        elif name == "" and len(names) == 1:
            result[names[0]] = value
        elif name == "":
            problems.append(
                f"{option} {text}: for which of the {len(names)} {kind}s? say "
                f"{flag(option, names[0], text)}, or another; {kind}s: {', '.join(names)}"
            )
        else:
            problems.append(
                f"{option} {name}={text}: no {kind} of this name; {kind}s: {', '.join(names)}"
            )
    return result
