"""What is in each target's way, before any work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hubopt import registry
from hubopt._util.escaping import printable
from hubopt._util.listing import folded
from hubopt.exporter import Obstacle, OpUse, Target

_log = logging.getLogger(__name__)


def find_obstacles(
    targets: Sequence[Target],
    ops: Sequence[OpUse],
    dynamic: Sequence[str] = (),
    weights_bytes: int = 0,
) -> dict[str, list[Obstacle]]:
    """Return what is in each target's way, by its id, its source's way included.

    Args:
        targets: The targets, sources first.
        ops: The operations of the program; none if they are not known yet.
        dynamic: The names of the inputs' dynamic dimensions.
        weights_bytes: How large the weights are.
    """
    found: dict[str, list[Obstacle]] = {}
    for target in targets:
        exporter = registry.get(target.exporter)
        try:
            own = list(exporter.obstacles(ops, target))
        except Exception as error:  # a third party's code can raise anything
            _log.warning("obstacles of target %s", target.id, exc_info=True)
            own = [Obstacle("?", 0, f"its obstacles() fails: {type(error).__name__}: {error}")]
        if not exporter.dynamic:
            own += [
                Obstacle(f"dimension {name}", 1, f"{exporter.name} holds static shapes only")
                for name in dynamic
            ]
        if exporter.largest_bytes is not None and weights_bytes > exporter.largest_bytes:
            reason = f"{exporter.name} holds {exporter.largest_bytes / 1e9:.1f} GB at most"
            own.append(Obstacle(f"weights of {weights_bytes / 1e9:.1f} GB", 1, reason))
        found[target.id] = [*found.get(exporter.source, []), *own]
    return found


def format_obstacles(obstacles: Sequence[Obstacle]) -> str:
    """Return obstacles as one sentence, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for obstacle in obstacles:
        by_reason.setdefault(obstacle.reason, []).append(
            f"{printable(obstacle.op)} (x{obstacle.count})"
        )
    return "; ".join(f"{reason}: {folded(ops)}" for reason, ops in by_reason.items())
