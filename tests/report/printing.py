"""Print a report as the command line does."""

from __future__ import annotations

import io

from rich.console import RenderableType

from hubopt.cli.console import EscapingConsole


def printed(report: RenderableType, width: int = 200, terminal: bool = False) -> str:
    """Return what the command line prints, on a terminal of ``width`` columns or in a pipe."""
    stream = io.StringIO()
    console = EscapingConsole(
        file=stream, width=width, force_terminal=terminal, color_system=None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    console.print(report)
    return stream.getvalue()
