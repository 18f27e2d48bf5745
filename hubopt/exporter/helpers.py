"""Helpers for most exporters: errors in the same wording, and the usual obstacles.

`first_cause` cuts the text of a converter to what it complains about first, and `folded` cuts a
list of names with a count. The worker writes the whole error to the log of the target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from hubopt._platform.causes import first_line as first_cause
from hubopt._util.listing import folded
from hubopt.errors import NotRunnableHereError
from hubopt.exporter.contract import Obstacle
from hubopt.exporter.program import Artifact, OpUse

__all__ = ["culprits", "first_cause", "folded", "host_obstacles", "not_runnable"]


def not_runnable(artifact: Artifact, found: str, expected: str, way_out: str) -> Exception:
    """Return the error for a machine that cannot run ``artifact``."""
    return NotRunnableHereError(f"{artifact.exporter} artifact", found, expected, way_out)


def culprits(ops: Iterable[OpUse]) -> list[OpUse]:
    """Return the operations in ``ops`` that are not generic, or all if every one is generic."""
    every = list(ops)
    return [use for use in every if not use.generic] or every


def host_obstacles(
    ops: Sequence[OpUse], target: str, lookups: Collection[str] = ()
) -> list[Obstacle]:
    """Return an obstacle for every operation on strings and lookup tables that a target lacks.

    Args:
        ops: The operations of a program.
        target: What to call the target.
        lookups: The lookups that it holds, as in `OpUse.lookups`. If there are any, it also holds
            strings that are only passed on to them.
    """
    host = [use for use in ops if use.string or use.resource]
    lacking = [use for use in host if not (use.lookups and set(use.lookups) <= set(lookups))]
    if len(lacking) < len(host):
        lacking = [use for use in lacking if not use.generic]
    return [Obstacle(use.op, use.count, _reason(use, target, lookups)) for use in culprits(lacking)]


def _reason(use: OpUse, target: str, lookups: Collection[str]) -> str:
    if use.lookups and lookups:
        found = ", ".join(sorted(set(use.lookups).difference(lookups)))
        return f"{target} holds lookups of {', '.join(lookups)} only, not {found}"
    return f"{target} holds no {'strings' if use.string else 'lookup tables'}"
