"""Files of a target from anywhere: which target runs them, and what they say of themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from hubopt import registry
from hubopt.errors import UsageError
from hubopt.exporter import PROGRAM, FileInterface
from hubopt.workers.worker import Worker


class TargetFile(NamedTuple):
    """A file or folder of a target.

    Attributes:
        path: Where it is.
        exporter: The name of the exporter that runs it.
    """

    path: Path
    exporter: str


def find_file(path: str | os.PathLike[str], target: str | None = None) -> TargetFile:
    """Return a file or folder with the name of the exporter that runs it.

    Args:
        path: The file or folder.
        target: The exporter's name; by default the path's suffix decides.

    Raises:
        UsageError: Nothing is there, or nothing says which exporter runs it.
    """
    place = Path(path)
    if not place.exists():
        raise UsageError(
            f"artifact {place}", "no such file or folder", "an artifact", "check the path"
        )
    name = target or _target_of(place)
    registry.get(name)  # reports an unknown target before any work
    return TargetFile(place, name)


def _target_of(place: Path) -> str:
    suffix = "" if place.is_dir() else place.suffix
    fitting = [
        exporter.name
        for exporter in map(registry.get, registry.names())
        if exporter.suffix == suffix and (exporter.source == PROGRAM or suffix)
    ]
    if len(fitting) != 1:
        raise UsageError(
            f"artifact {place}",
            f"its suffix, {suffix or 'none'}, does not determine the target",
            f"target=, one of: {', '.join(registry.names())}",
            "name the target: --target (target=)",
        )
    return fitting[0]


def file_interface(path: Path, exporter: str, log: Path) -> FileInterface | None:
    """Read the inputs and outputs that a file declares, in a child process.

    Args:
        path: The file or folder.
        exporter: The name of the exporter that runs it.
        log: Gets what the child prints.

    Returns:
        The interface; None if the exporter cannot read it.

    Raises:
        ExportError: The file does not load.
        NotRunnableHereError: The target's runtime is not installed.
    """
    if not hasattr(registry.get(exporter), "interface"):
        return None
    with Worker(log) as worker:
        found: FileInterface = worker.call(_read, path, exporter)
    return found


def _read(path: Path, name: str) -> FileInterface:
    exporter: Any = registry.get(name)
    registry.require_runtime(exporter)
    found: FileInterface = exporter.interface(path)
    return found
