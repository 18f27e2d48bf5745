"""Standard streams that never raise: what they could not write is known when the command ends."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

from hubopt.errors import EXIT_EXPORT, EXIT_OK, ResourceError

_EXIT_PIPE = 141
"""128 + SIGPIPE, what a shell reports for a program that a closed pipe ended."""


class _Lossless(io.FileIO):
    """A descriptor whose first error is kept, and what cannot be written dropped.

    Raised where it happens, it would end a command in the middle, or at the interpreter's end,
    where nobody can tell it.
    """

    problem: OSError | None = None

    def write(self, data: object, /) -> int:
        if self.problem is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.problem = error
        return len(memoryview(data))  # type: ignore[arg-type]


class Streams:
    """Standard output and error of a command, from now to its end."""

    def __init__(self) -> None:
        # The descriptors must be taken, else a file that is opened would become one of them.
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                # Read only, so that a write fails as it does on a closed descriptor.
                os.open(os.devnull, os.O_RDONLY)
        self._out = _Lossless(1, "w", closefd=False)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(_Lossless(2, "w", closefd=False), sys.stderr)

    def finish(self, code: int) -> int:
        """Write what is left, tell what could not be written; return the exit code.

        Args:
            code: What the command itself ends with.
        """
        sys.stdout.flush()
        problem = self._out.problem
        if problem is not None and problem.errno == errno.EPIPE:
            return code or _EXIT_PIPE
        if problem is not None:
            told = ResourceError(
                "standard output",
                f"it cannot be written: {problem.strerror}",
                "a terminal, a pipe, or a file with room for the answer",
                "send it elsewhere; what the command was to do is done",
            )
            print(f"error: {told}", file=sys.stderr)
            code = code if code != EXIT_OK else EXIT_EXPORT
        sys.stderr.flush()
        return code


def _text(raw: _Lossless, before: TextIO | None) -> io.TextIOWrapper:
    """Return a text stream in the encoding of the one before, if there was one."""
    is_error = raw.fileno() == 2
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a name in a model may hold what the terminal cannot show
        line_buffering=is_error or raw.isatty(),
    )
