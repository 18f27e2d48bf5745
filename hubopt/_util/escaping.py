"""Escapes text from a model, so that it is safe in a terminal, a log or a web page.

A name in a model can hold anything: escape sequences that move the cursor or rename the window,
line breaks that fake another line, characters that reverse the writing direction.
"""

from __future__ import annotations

import re
from pathlib import Path

_PIECES = re.compile(r"[^\n\t]+")


def printable(text: str) -> str:
    r"""Return ``text`` with every unprintable character replaced by its Python escape.

    >>> printable("a\x1b[2Jb\nc\u202ed")
    'a\\x1b[2Jb\\nc\\u202ed'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable_lines(text: str) -> str:
    r"""Like `printable`, but keep line breaks and tabs.

    >>> printable_lines("one\n\ttwo\r\x07")
    'one\n\ttwo\\r\\x07'
    """
    return _PIECES.sub(lambda piece: printable(piece.group()), text)


def escape_file(path: Path) -> None:
    """Escape, in place, a log of what native code and models printed."""
    content = path.read_bytes()
    text = printable_lines(content.replace(b"\r\n", b"\n").decode(errors="backslashreplace"))
    if text.encode() != content:
        path.write_text(text, encoding="utf-8")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
