"""Keeps the traceback of a defect for a bug report."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

_KEPT = 20
"""How many tracebacks are kept; the oldest are deleted."""
_TAIL_LINES = 12


def keep_traceback(error: BaseException) -> Path | None:
    """Write the traceback of ``error`` to the user's log folder.

    Returns:
        The file; None if it cannot be written.
    """
    import platformdirs

    folder = Path(platformdirs.user_log_dir("hubopt"))
    path = folder / f"defect-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), errors="backslashreplace")
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    _delete_oldest(folder)
    return path


def traceback_tail(error: BaseException) -> str:
    """Return the last lines of the traceback of ``error``."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _delete_oldest(folder: Path) -> None:
    with suppress(OSError):  # another process may delete them at the same time
        kept = sorted(folder.glob("defect-*.log"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_KEPT]:
            path.unlink(missing_ok=True)
