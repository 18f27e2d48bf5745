"""Texts of a model, made fit for a terminal, a log or a page.

A name in a model can hold anything: escape sequences that move the cursor or rename the window,
line breaks that fake another line, characters that turn the direction of writing.
"""

from __future__ import annotations

import re
from pathlib import Path

_PIECES = re.compile(r"[^\n\t]+")


def printable(text: str) -> str:
    r"""Return ``text`` with every character that does not print as its Python escape.

    >>> printable("a\x1b[2Jb\nc\u202ed")
    'a\\x1b[2Jb\\nc\\u202ed'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def printable_lines(text: str) -> str:
    r"""Return `printable` of a text of several lines: line breaks and tabs stay.

    >>> printable_lines("one\n\ttwo\r\x07")
    'one\n\ttwo\\r\\x07'
    """
    return _PIECES.sub(lambda piece: printable(piece.group()), text)


def escape_file(path: Path) -> None:
    """Make a log of what native code and models printed fit to be looked at, in place."""
    content = path.read_bytes()
    text = printable_lines(content.replace(b"\r\n", b"\n").decode(errors="backslashreplace"))
    if text.encode() != content:
        path.write_text(text, encoding="utf-8")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
