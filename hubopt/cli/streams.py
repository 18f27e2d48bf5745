"""The command's standard streams: failed writes are reported when the command ends."""

from __future__ import annotations

import errno
import os
import sys

from hubopt._util.lossy_streams import LossyFile, lossy_text
from hubopt.errors import EXIT_EXPORT, EXIT_OK, ResourceError

_EXIT_PIPE = 141
"""128 + SIGPIPE, which a shell reports for a program that a closed pipe ended."""


class Streams:
    """Standard output and error of a command, from now to its end."""

    def __init__(self) -> None:
        # The descriptors must be in use; otherwise the next opened file would get one of them.
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                # Read only, so that a write fails as it does on a closed descriptor.
                os.open(os.devnull, os.O_RDONLY)
        self._out = LossyFile(1, "w", closefd=False)
        # A program that runs the command in its own process may have redirected them.
        if sys.stdout is sys.__stdout__:
            sys.stdout = lossy_text(self._out, sys.stdout, self._out.isatty())
        if sys.stderr is sys.__stderr__:
            errors = LossyFile(2, "w", closefd=False)
            sys.stderr = lossy_text(errors, sys.stderr, line_buffering=True)

    def finish(self, code: int) -> int:
        """Flush the streams and report failed writes; return the exit code.

        Args:
            code: The exit code of the command itself.
        """
        sys.stdout.flush()
        problem = self._out.problem
        if problem is not None and problem.errno == errno.EPIPE:
            return code or _EXIT_PIPE
        if problem is not None:
            error = ResourceError(
                "standard output",
                f"it cannot be written: {problem.strerror}",
                "a terminal, a pipe, or a file with room for the output",
                "send the output elsewhere; the command itself has done its work",
            )
            print(f"error: {error}", file=sys.stderr)
            code = code if code != EXIT_OK else EXIT_EXPORT
        sys.stderr.flush()
        return code
