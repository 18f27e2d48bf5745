"""The obstacles to each target, found before any work."""

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
    data_dependent: Sequence[str] = (),
) -> dict[str, list[Obstacle]]:
    """Return the obstacles to each target and to its source, by target id.

    Args:
        targets: The targets, sources first.
        ops: The operations of the program; none if they are not known yet.
        dynamic: The names of the dynamic dimensions of the inputs.
        weights_bytes: The size of the weights.
        data_dependent: The names of the outputs whose sizes depend on the data.
    """
    found: dict[str, list[Obstacle]] = {}
    for target in targets:
        exporter = registry.get(target.exporter)
        try:
            own = list(exporter.obstacles(ops, target))
        except Exception as error:  # third-party code can raise anything
            _log.warning("obstacles of target %s", target.id, exc_info=True)
            own = [Obstacle("?", 0, f"its obstacles() fails: {type(error).__name__}: {error}")]
        if not exporter.dynamic:
            own += [
                Obstacle(f"dimension {name}", 1, f"{exporter.name} holds static shapes only")
                for name in dynamic
            ]
        if not getattr(exporter, "open_outputs", exporter.dynamic):
            own += [
                Obstacle(
                    f"output {name}",
                    1,
                    f"its size depends on the data, and {exporter.name} holds static outputs only",
                )
                for name in data_dependent
            ]
        if exporter.largest_bytes is not None and weights_bytes > exporter.largest_bytes:
            reason = f"{exporter.name} holds {exporter.largest_bytes / 1e9:.1f} GB at most"
            own.append(Obstacle(f"weights of {weights_bytes / 1e9:.1f} GB", 1, reason))
        inherited = found.get(exporter.source, [])
        known = {obstacle.op for obstacle in inherited}
        found[target.id] = [*inherited, *(here for here in own if here.op not in known)]
    return found


def format_obstacles(obstacles: Sequence[Obstacle]) -> str:
    """Return obstacles as one sentence, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for obstacle in obstacles:
        by_reason.setdefault(obstacle.reason, []).append(
            f"{printable(obstacle.op)} (x{obstacle.count})"
        )
    return "; ".join(f"{reason}: {folded(ops)}" for reason, ops in by_reason.items())
