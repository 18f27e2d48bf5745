"""Standard streams whose writes never raise: what could not be written is known afterwards."""

from __future__ import annotations

import io
from typing import TextIO


class LossyFile(io.FileIO):
    """A descriptor whose first error is kept, and what cannot be written dropped.

    Raised where it happens, it would end a command in the middle, or at the interpreter's end,
    where nobody can tell it.

    Attributes:
        problem: The first error; None if all was written.
    """

    problem: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write ``data``, or drop it."""
        if self.problem is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.problem = error
        return len(memoryview(data))  # type: ignore[arg-type]


def lossy_text(raw: LossyFile, before: TextIO | None, line_buffering: bool) -> io.TextIOWrapper:
    """Return a text stream in the encoding of the one before, if there was one."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a name in a model may hold what the terminal cannot show
        line_buffering=line_buffering,
    )
