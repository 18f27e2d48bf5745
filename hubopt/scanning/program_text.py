"""`program_text`: a child process reads a StableHLO program and returns it as text.

MLIR's reader is native code, which a damaged program can crash or hang. The scan must survive that.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

from hubopt._platform.tf_private import stablehlo_text
from hubopt._util.import_path import installed_path
from hubopt.workers.lifeline import die_with_parent, lifeline

_CHILD = (
    "import sys; sys.path[:] = {path!r}; "
    "from hubopt.scanning.program_text import _answer; _answer({lifeline!r})"
)
_END = b"\0"  # without it the child has died early: native code may even exit with 0
_TIMEOUT_S = 60  # reading takes milliseconds once TensorFlow is imported


@lru_cache(maxsize=16)  # the functions of a model often carry the same program
def program_text(module: bytes) -> str | None:
    """Return the program in a StableHLO portable artifact as text.

    Args:
        module: The ``module`` attribute of an ``XlaCallModule``.

    Returns:
        The text; None if the program cannot be read.
    """
    with lifeline() as descriptor:
        code = _CHILD.format(path=installed_path(), lifeline=descriptor)
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                input=module,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # MLIR's error messages quote the program
                pass_fds=() if descriptor is None else (descriptor,),
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
    if done.returncode or not done.stdout.endswith(_END):
        return None
    return done.stdout.removesuffix(_END).decode(errors="replace")


def _answer(descriptor: int | None) -> None:
    die_with_parent(descriptor)
    text = stablehlo_text(sys.stdin.buffer.read())
    if text is None:
        sys.exit(1)
    sys.stdout.buffer.write(text.encode(errors="replace") + _END)
