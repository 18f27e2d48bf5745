"""Runs the command line as a new process or in a fork of this one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchmarks.attacks.forked_children import fork_children
from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import HUBOPT, Place
from benchmarks.attacks.processes import left_after

PATIENCE_S = 3.0
"""How long a command's processes may outlive it."""
_LIMITS = {
    resource.RLIMIT_CPU: 90,
    resource.RLIMIT_AS: 8 * 10**9,
    resource.RLIMIT_CORE: 0,
}
"""The limits of each process of a file attack, in seconds and bytes; a bomb exceeds them."""
_STEP_S = 0.004


def run_command(
    arguments: Sequence[str],
    place: Place,
    timeout_s: float,
    command: Sequence[str] = HUBOPT,
    limited: bool = False,
) -> Ran:
    """Run the real command to its end.

    Args:
        arguments: The arguments of the command line.
        place: The folders to run in.
        timeout_s: After this time the command counts as hanging and is ended.
        command: The command to run.
        limited: Whether the limits of a fork apply to it and its children.
    """
    started = start_command(arguments, place, command)
    if limited:
        for kind, most in _LIMITS.items():
            with suppress(ProcessLookupError):
                resource.prlimit(started.pid, kind, (most, most))
    try:
        code: int | None = started.wait(timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    ran = finish(started.pid, code, place)
    started.wait()
    return ran


def start_command(
    arguments: Sequence[str], place: Place, command: Sequence[str] = HUBOPT
) -> subprocess.Popen[bytes]:
    """Start the real command in its own session, with its output in files."""
    with (place.root / "out").open("wb") as out, (place.root / "err").open("wb") as err:
        return subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=place.here,
            env={**os.environ, **place.environment()},
            start_new_session=True,
        )


def finish(leader: int, code: int | None, place: Place) -> Ran:
    """Return the result of a command, after giving its processes time to end.

    Args:
        leader: Its process.
        code: Its exit code; None if it hangs and must be ended now.
        place: Where it ran.
    """
    marker = str(place.root)
    left = left_after(leader, PATIENCE_S if code is not None else 0.0, marker)
    if code is None:
        left = ()  # they belong to the command that hangs
    out, err = (
        (place.root / name).read_text(errors="replace")[-200_000:] for name in ("out", "err")
    )
    return Ran(code, out, err, left)


def run_forked(arguments: Sequence[str], place: Place, timeout_s: float) -> Ran:
    """Run the command line in a fork of this process, which has imported everything needed.

    The children that hubopt starts are forks too, so that none imports TensorFlow again.
    Everything else is as in the real command: processes, pipes, signals and exit code.
    """

    def body() -> None:
        from hubopt.cli import main

        sys.argv = ["hubopt", *arguments]
        fork_children()
        main()

    return fork(body, place, timeout_s)


def fork(body: Callable[[], None], place: Place, timeout_s: float) -> Ran:
    """Run ``body`` in a fork, in its own session and within limits.

    Args:
        body: The function to run; its ``SystemExit`` is the exit code.
        place: The folders to run in.
        timeout_s: After this time the command counts as hanging and is ended.
    """
    for name in ("out", "err"):
        (place.root / name).unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be_child(body, place)
    until = time.monotonic() + timeout_s
    code: int | None = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > until:
            break
        time.sleep(_STEP_S)
    ran = finish(child, code, place)
    if code is None:
        os.waitpid(child, 0)
    return ran


def _be_child(body: Callable[[], None], place: Place) -> None:
    code = 70
    try:
        os.setsid()
        for name, descriptor in (("out", 1), ("err", 2)):
            file = os.open(place.root / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(place.environment())
        os.chdir(place.here)
        tempfile.tempdir = None  # Python caches the folder; the fork has another one
        for kind, most in _LIMITS.items():
            resource.setrlimit(kind, (most, most))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        body()
        code = 0
    except SystemExit as error:
        code = _exit_code(error.code)
    except BaseException:
        # As Python does for an uncaught exception.
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def preload() -> None:
    """Import what commands need, but run nothing: a runtime's threads do not survive a fork."""
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"})
    import importlib

    for name in _MODULES:
        importlib.import_module(name)


_MODULES = (
    "tensorflow", "tf_keras", "tensorflow_hub", "keras", "h5py", "onnx", "onnxruntime", "tf2onnx",
    "ai_edge_litert.interpreter", "hubopt.cli", "hubopt.keras3", "hubopt.layers.opening",
    "hubopt.programs.tracing", "hubopt.layers.layer", "hubopt_exporters.onnx",
    "hubopt_exporters.tflite", "hubopt_exporters.savedmodel", "benchmarks.mutations.run",
)  # fmt: skip
