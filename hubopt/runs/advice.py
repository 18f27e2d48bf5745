"""What to do about a target that failed: where its log is, and what finds its fault."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from hubopt import registry
from hubopt._util.defects import keep_log
from hubopt._util.escaping import printable_lines
from hubopt.bundles.manifest import LOGS
from hubopt.bundles.results import TargetResult
from hubopt.errors import HuboptError

_LOGGED = ("export", "load", "run")
"""The stages whose whole error is in the target's log."""


def find_log(result: TargetResult, folder: Path) -> Path | None:
    """Return the log with the whole error of a target; None if there is no such log.

    Args:
        result: The target's result.
        folder: The bundle.
    """
    log = folder / LOGS / f"{result.target}.log"
    has_error = result.status == "failed" and result.stage in _LOGGED and result.cached is None
    return log if has_error and log.is_file() and log.stat().st_size else None


def keep_logs(results: Iterable[TargetResult], folder: Path) -> Path | None:
    """Keep the logs of failed targets outside of ``folder``, which is about to be removed.

    Returns:
        The file; None if there is nothing to keep, or no place for it.
    """
    logs = [(result.target, log) for result in results if (log := find_log(result, folder))]
    texts = [f"{target}\n\n{log.read_text(errors='backslashreplace')}" for target, log in logs]
    return keep_log("export", printable_lines("\n\n".join(texts))) if texts else None


def diagnosis_advice(result: TargetResult, bundle: Path | None) -> str | None:
    """Return how to find where an artifact deviates; None if that is not its fault.

    Args:
        result: The target's result.
        bundle: The bundle's folder; None if none was written.
    """
    if result.stage != "parity" or not _has_probe(result.exporter):
        return None
    command = f"hubopt diagnose {shlex.quote(str(bundle or 'BUNDLE'))} -t {result.target}"
    if result.path is not None and bundle is not None:
        return f"`{command}` finds where it deviates"
    return f"export with --keep-failed; then `{command}` finds where it deviates"


def _has_probe(name: str) -> bool:
    try:
        return hasattr(registry.get(name), "probe")
    except HuboptError:  # an exporter that is not installed here
        return False
