"""Standard streams whose writes never raise; the first error can be read afterwards."""

from __future__ import annotations

import io
from typing import TextIO


class LossyFile(io.FileIO):
    """A file descriptor that keeps its first error and drops everything that it cannot write.

    An error raised by a write would end a command halfway, or occur at the interpreter's exit,
    where it can no longer be reported.

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
    """Return a text stream on ``raw`` with the encoding of ``before``, if there is one."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a name in a model may hold what the terminal cannot show
        line_buffering=line_buffering,
    )
