"""`Listing`: a table with one column of names, whose length a model decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_GAP = 2
_INDENT = 4


@dataclass(frozen=True, slots=True)
class Listing:
    """A table that cuts nothing off, whatever the width of the terminal.

    If the rows fit, it is a plain table. If they do not, the names stand on lines of their own and
    the other cells below them, because a narrow column would break every name into pieces.

    Attributes:
        headings: The headings of the columns.
        rows: The cells of each row.
        name: The index of the column of names.
        right: The indices of the columns of numbers.
        styles: The style of each row; none by default.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    name: int = 0
    right: frozenset[int] = frozenset()
    styles: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for at, heading in enumerate(self.headings):
            justify = "right" if at in self.right else "left"
            table.add_column(heading, no_wrap=True, justify=justify)  # type: ignore[arg-type]
        for at, row in enumerate(self.rows):
            table.add_row(*map(Text, row), style=self._style(at))
        endless = options.update(max_width=10**6)
        if Measurement.get(console, endless, table).maximum <= options.max_width:
            yield table
        else:
            yield from self._lines()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def _lines(self) -> Iterator[Text]:
        """Yield the table with two lines a row."""
        widths = [
            max(map(cell_len, column)) for column in zip(self.headings, *self.rows, strict=True)
        ]
        yield Text(self.headings[self.name] or "name", style="bold")
        yield Text(self._others(self.headings, widths), style="bold")
        for at, row in enumerate(self.rows):
            yield Text(row[self.name], style=self._style(at), overflow="fold")
            yield Text(self._others(row, widths), style=self._style(at), overflow="fold")

    def _others(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [
            _padded(cell, widths[at], at in self.right)
            for at, cell in enumerate(row)
            if at != self.name
        ]
        return " " * _INDENT + (" " * _GAP).join(cells).rstrip()

    def _style(self, at: int) -> str:
        return self.styles[at] if self.styles else ""


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
