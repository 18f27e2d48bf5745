"""The consoles of the command line: results on standard output, talk on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from hubopt._util.escaping import printable_lines

_PIPE_COLUMNS = 200
"""The width if the output is not a terminal; nothing may be cut off there."""


class EscapingConsole(Console):
    """A console that escapes control characters, so that no text can control the terminal.

    A terminal gets texts wrapped at its width. A pipe gets every text on one line.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print each of ``objects``, and each part of a group, by itself."""
        for part in objects:
            parts = part.renderables if isinstance(part, Group) else [part]
            for each in parts:
                is_text = isinstance(each, str | Text)
                wraps = {"soft_wrap": True} if is_text and not self.is_terminal else {}
                super().print(each, **{**wraps, **options})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape what is rendered, but not the console's own control codes."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                segment = segment._replace(text=printable_lines(segment.text))
            yield segment


class EscapingFormatter(logging.Formatter):
    """A format of log records that escapes control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Format and escape a record."""
        return printable_lines(super().format(record))


def _console(stderr: bool) -> Console:
    """Return a console that prints texts as they are: no markup, no colours, no emoji codes."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else _PIPE_COLUMNS
    return EscapingConsole(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


out = _console(stderr=False)
talk = _console(stderr=True)
