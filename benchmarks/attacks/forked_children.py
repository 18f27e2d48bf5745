"""Starts the children of hubopt as forks of a process that has already imported TensorFlow.

`hubopt.workers.worker` starts ``python -c CODE``, which takes seconds to import TensorFlow. In
a process that has imported TensorFlow and has run nothing with it, a fork that runs the same code
over the same pipes is an equivalent child, without the delay. Other commands are started normally.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import IO, Any

_CODE = "hubopt.workers.worker"
"""The module that the code of a child names."""
_OPTIONS = {
    "stdin", "stdout", "stderr", "env", "cwd", "pass_fds", "preexec_fn", "start_new_session",
    "process_group", "close_fds",
}  # fmt: skip
_STEP_S = 0.002


def fork_children() -> None:
    """Make `hubopt.workers.worker` fork its children in this process from now on."""
    from hubopt.workers import worker

    names = {name: getattr(subprocess, name) for name in dir(subprocess)}
    vars(worker)["subprocess"] = SimpleNamespace(**{**names, "Popen": _start})


def _start(arguments: Sequence[str], **options: Any) -> Any:
    code = arguments[-1]
    if arguments[0] == sys.executable and _CODE in code and options.keys() <= _OPTIONS:
        return ForkedChild(code, **options)
    return subprocess.Popen(arguments, **options)


class ForkedChild:
    """The part of `subprocess.Popen` that hubopt uses, for a fork of this process.

    Args:
        code: The code that the child runs.
        stdin: ``subprocess.PIPE``.
        stdout: ``subprocess.PIPE``.
        stderr: An open file.
        env: The child's environment.
        cwd: The child's current folder.
        pass_fds: Descriptors that the child keeps; a fork keeps all by itself.
        preexec_fn: Called first in the child.
        start_new_session: Whether the child leads a session.
        process_group: The child's process group; None for that of this process.
    """

    def __init__(
        self,
        code: str,
        *,
        stdin: int,
        stdout: int,
        stderr: Any = None,
        env: Mapping[str, str] | None = None,
        cwd: Any = None,
        pass_fds: Sequence[int] = (),
        preexec_fn: Callable[[], object] | None = None,
        start_new_session: bool = False,
        process_group: int | None = None,
        close_fds: bool = True,
    ) -> None:
        assert (stdin, stdout) == (subprocess.PIPE, subprocess.PIPE)
        del close_fds  # done below
        asked, ask = os.pipe()
        answered, answer = os.pipe()
        log = 2 if stderr is None else stderr.fileno()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                if start_new_session:
                    os.setsid()
                if process_group is not None:
                    os.setpgid(0, process_group)
                for source, wanted in ((asked, 0), (answer, 1), (log, 2)):
                    os.dup2(source, wanted)
                _close_all_but({0, 1, 2, *pass_fds})
                if cwd is not None:
                    os.chdir(cwd)
                for number in (signal.SIGTERM, signal.SIGHUP):
                    if signal.getsignal(number) is not signal.SIG_IGN:
                        signal.signal(number, signal.SIG_DFL)
                if preexec_fn is not None:
                    preexec_fn()
                _run(code, env)
            finally:
                os._exit(1)
        os.close(asked)
        os.close(answer)
        self.stdin: IO[bytes] = os.fdopen(ask, "wb")
        self.stdout: IO[bytes] = os.fdopen(answered, "rb")

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            try:
                done, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                done, status = self.pid, 0
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("child", timeout or 0.0)
            time.sleep(_STEP_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def _close_all_but(kept: set[int]) -> None:
    """Close all other descriptors: with the other ends of its pipes open, a child sees no end."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))


def _run(code: str, env: Mapping[str, str] | None) -> None:
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    tempfile.tempdir = None
    sys.argv = ["-c"]
    try:
        exec(code, {"__name__": "__main__"})
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    os._exit(status)
