"""Unexpected errors: whose code raised them, and what of them is kept for a report."""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

_KEPT = 20
"""How many tracebacks are kept; the oldest are deleted."""
_TAIL_LINES = 12
_OURS = frozenset({"hubopt", "hubopt_exporters"})
_TOOLS = frozenset({"numpy", "cattrs", "attr", "attrs", "typer", "click", "rich", "platformdirs"})
"""The packages of the base install. Like Python's own, they do what their caller asks for."""


def keep_traceback(error: BaseException) -> Path | None:
    """Write the traceback of ``error`` to the user's log folder.

    Returns:
        The file; None if it cannot be written.
    """
    kind = "error" if raised_by(error) else "defect"
    return keep_log(kind, "".join(traceback.format_exception(error)))


def keep_log(kind: str, text: str) -> Path | None:
    """Write ``text`` to the user's log folder; the oldest logs of this ``kind`` are deleted.

    Returns:
        The file; None if it cannot be written.
    """
    import platformdirs

    folder = Path(platformdirs.user_log_dir("hubopt"))
    path = folder / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, errors="backslashreplace")
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    _delete_oldest(folder, kind)
    return path


def raised_by(error: BaseException) -> str | None:
    """Return the package whose code raised ``error``; None if it is hubopt's own.

    An error of a package's own class is that package's. Otherwise the innermost code decides.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [*(frame.f_globals.get("__name__") or "" for frame in frames), type(error).__module__]
    owners = [owner for owner in map(_package, names) if owner]
    return None if not owners or owners[-1] in _OURS else owners[-1]


def _package(module: str) -> str | None:
    """Return the package of a module; None if it only does what its caller asks for."""
    top = module.partition(".")[0]
    return None if top in sys.stdlib_module_names or top in _TOOLS or top == "__main__" else top


def report_advice(error: BaseException) -> str:
    """Return what to do about an unexpected error; its traceback is kept."""
    log = keep_traceback(error)
    where = f"traceback, which is in {log}" if log else f"log:\n{traceback_tail(error)}"
    owner = raised_by(error)
    if owner is not None:
        return f"it was raised by {owner}, not by hubopt; see the {where}"
    return f"this is a defect of hubopt; please report it with the {where}"


def traceback_tail(error: BaseException) -> str:
    """Return the last lines of the traceback of ``error``."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _delete_oldest(folder: Path, kind: str) -> None:
    with suppress(OSError):  # another process may delete them at the same time
        kept = sorted(folder.glob(f"{kind}-*.log"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_KEPT]:
            path.unlink(missing_ok=True)
