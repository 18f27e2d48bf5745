"""`html_table`: a table for a notebook; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hubopt._util.escaping import printable


def html_table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: Iterable[str] = (),
) -> str:
    """Return a table as HTML.

    Args:
        caption: A line above the table.
        headings: The columns.
        rows: The cells of each row.
        notes: Lines below the table.
    """

    def cells(tag: str, texts: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{_text(text)}</{tag}>" for text in texts) + "</tr>"

    body = "".join(cells("td", row) for row in rows)
    listed = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return (
        f"<table><caption>{_text(caption)}</caption><thead>{cells('th', headings)}</thead>"
        f"<tbody>{body}</tbody></table>" + (f"<ul>{listed}</ul>" if listed else "")
    )


def _text(text: str) -> str:
    return escape(printable(text))
