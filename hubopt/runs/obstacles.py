"""What is in each target's way, before any work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hubopt._util.escaping import printable
from hubopt.exporter import Exporter, Obstacle, Options, OpUse

_log = logging.getLogger(__name__)
_OPS_SHOWN = 8


def find_obstacles(
    exporters: Sequence[Exporter],
    ops: Sequence[OpUse],
    options: Options,
    dynamic: Sequence[str] = (),
    weights_bytes: int = 0,
) -> dict[str, list[Obstacle]]:
    """Return what is in each target's way, its source's way included; sources come first.

    Args:
        exporters: The targets.
        ops: The operations of the program; none if they are not known yet.
        options: What the exporters may be asked.
        dynamic: The names of the inputs' dynamic dimensions.
        weights_bytes: How large the weights are.
    """
    found: dict[str, list[Obstacle]] = {}
    for exporter in exporters:
        try:
            own = list(exporter.obstacles(ops, options))
        except Exception as error:  # a stranger's code can raise anything
            _log.warning("obstacles of target %s", exporter.name, exc_info=True)
            own = [Obstacle("?", 0, f"its obstacles() fails: {type(error).__name__}: {error}")]
        if not exporter.dynamic:
            own += [
                Obstacle(f"dimension {name}", 1, f"{exporter.name} holds static shapes only")
                for name in dynamic
            ]
        if exporter.largest_bytes is not None and weights_bytes > exporter.largest_bytes:
            reason = f"{exporter.name} holds {exporter.largest_bytes / 1e9:.1f} GB at most"
            own.append(Obstacle(f"weights of {weights_bytes / 1e9:.1f} GB", 1, reason))
        found[exporter.name] = [*found.get(exporter.source, []), *own]
    return found


def tell(obstacles: Sequence[Obstacle]) -> str:
    """Return obstacles as one sentence, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for obstacle in obstacles:
        by_reason.setdefault(obstacle.reason, []).append(
            f"{printable(obstacle.op)} (x{obstacle.count})"
        )
    return "; ".join(
        f"{reason}: {', '.join(ops[:_OPS_SHOWN])}"
        + (f" and {len(ops) - _OPS_SHOWN} more" if len(ops) > _OPS_SHOWN else "")
        for reason, ops in by_reason.items()
    )
