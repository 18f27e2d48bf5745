"""A child process that runs stages, so that a native crash ends the stage and not the command.

The parent sends a function with its arguments; the child sends back the result or the error. Both
are pickled and go through pipes between two processes of one installation. The child's output
goes to a log file.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from hubopt._platform.causes import first_line
from hubopt._platform.resources import killed_for_memory, out_of_memory, resource_error, resource_in
from hubopt._util.defects import report_advice
from hubopt._util.escaping import printable
from hubopt._util.import_path import installed_path
from hubopt._util.lossy_streams import LossyFile, lossy_text
from hubopt._util.owned_folders import TEMPORARY, owned_folder
from hubopt._util.signals import deferred_signals
from hubopt._util.trimming import trim_heap
from hubopt.errors import HuboptError, WorkerCrashError
from hubopt.workers.lifeline import die_with_parent, lifeline, tie

P = ParamSpec("P")
R = TypeVar("R")

_CHILD = (
    "import sys; sys.path[:] = {path!r}; "
    "from hubopt.workers.worker import _serve; _serve({imports!r}, {lifeline!r})"
)
_LOG_TAIL_LINES = 4
_LOG_NOISE = re.compile(
    r"[IW]\d{4} |\d{4}-\d\d-\d\d \S+: [IW] |WARNING:tensorflow:|Instructions for updating:"
    r"|This API was designed for TensorFlow v1\.|WARNING: All log messages before absl|INFO:"
)
"""How the lines begin that TensorFlow writes whatever happens."""
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",  # else ~/.keras/keras.json decides
    # Two children share a GPU while they are timed in turn; by default TensorFlow takes all of it.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
_CHANGED = "HUBOPT_CHANGED_ENVIRONMENT"
"""The variable that names what a child's ``environment`` has changed, with the values before, as
JSON, so that a child's own child does not inherit the changes."""


@contextmanager
def temporary_log() -> Iterator[Path]:
    """Yield the path of a log file that is removed when the context ends."""
    with owned_folder(Path(tempfile.gettempdir()), TEMPORARY) as folder:
        yield folder / "child.log"


class Worker:
    """One child process; calls from any thread run in it one after the other and share its memory.

    Use it as a context manager: leaving kills the child. The child also dies when this process
    ends, however it ends. The child's temporary files are removed with it.

    Args:
        log: The file that receives the child's output.
        environment: Variables that the child has in addition to those of this process. A child of
            that child does not inherit them.
        imports: Modules that the child imports at once, so that they are loaded at the first call.
    """

    def __init__(
        self,
        log: Path,
        environment: Mapping[str, str] | None = None,
        imports: Sequence[str] = (),
    ) -> None:
        self._log = log
        self._asking = Lock()
        self._killed_before = killed_for_memory()
        with ExitStack() as stack, log.open("ab") as stream:
            temporary = stack.enter_context(owned_folder(Path(tempfile.gettempdir()), TEMPORARY))
            descriptor = stack.enter_context(lifeline())
            code = _CHILD.format(path=installed_path(), imports=tuple(imports), lifeline=descriptor)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                pass_fds=() if descriptor is None else (descriptor,),
                env={
                    **_ENVIRONMENT,
                    **_child_environment(environment or {}),
                    **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
                },
            )
            self._belongings = stack.pop_all()
        tie(descriptor, self._process.pid)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with deferred_signals(), self._belongings:
            self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # the child died with a request still in the pipe
                continue

    @property
    def is_running(self) -> bool:
        """Whether the child is alive."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the child at once, from any thread; a call that is waiting for it fails."""
        self._process.kill()

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``function``, a module's top-level function, in the child.

        Raises:
            WorkerCrashError: The child died, or what it raised cannot be sent.
            HuboptError: The function raised it.
        """
        return self._ask(("call", function, args, kwargs))  # type: ignore[no-any-return]

    def log_to(self, log: Path) -> None:
        """Send the child's output to another file from now on."""
        self._ask(("call", _log_to, (log,), {}))
        self._log = log

    def create(self, factory: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Create an object in the child, one per worker, and return a stand-in for it.

        The stand-in has the object's methods, which run in the child, and nothing else.
        """
        self._ask(("create", factory, args, kwargs))
        return cast("R", _StandIn(self))

    def forget(self) -> None:
        """Release the object that `create` made, and give its memory back to the system."""
        self._ask(("forget", None, (), {}))

    def _ask(self, request: tuple[Any, ...]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._asking:
                pickle.dump(request, self._process.stdin)
                self._process.stdin.flush()
                good, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise self._crash() from error
        except (ImportError, AttributeError) as error:  # a class that only the child knows
            raise WorkerCrashError(
                "child process",
                f"its answer cannot be read: {error}",
                "values of classes that can be imported here",
                "define them at the top level of an installed module",
            ) from error
        if not good:
            raise value
        return value

    def _crash(self) -> HuboptError:
        code = self._process.wait()
        shortage = resource_in(self._log_tail()) if code else None
        if shortage is not None:
            return shortage
        if code == -signal.SIGKILL and killed_for_memory() > self._killed_before:
            return out_of_memory()
        if code < 0:
            name = signal.Signals(-code).name
            found = f"the process was ended by {name}"
            if name == "SIGKILL":
                found += ", as the kernel does when memory runs out"
        else:
            found = f"the process exited with code {code}"
        return WorkerCrashError(
            "child process",
            f"{found}; it last said:\n{self._log_tail() or '    nothing'}",
            "an answer",
            "try the target alone, with less memory in use if memory ran out",
        )

    def _log_tail(self) -> str:
        lines = [
            line
            for line in self._log.read_text(errors="replace").splitlines()
            if line.strip() and not _LOG_NOISE.match(line)
        ]
        return "\n".join(f"    {printable(line)}" for line in lines[-_LOG_TAIL_LINES:])


def _child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what was changed for this child, but with ``changes``."""
    base = dict(os.environ)
    for name, value in json.loads(base.pop(_CHANGED, "{}")).items():
        base.pop(name, None)
        if value is not None:
            base[name] = value
    if not changes:
        return base
    before = {name: base.get(name) for name in changes}
    return {**base, **changes, _CHANGED: json.dumps(before)}


class _StandIn:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args: self._worker._ask(("invoke", method, args, {}))


def _log_to(log: Path) -> None:
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)


def _serve(imports: Sequence[str], lifeline: int | None) -> None:
    """Serve requests from standard input until it closes; the child's side of `Worker`."""
    die_with_parent(lifeline)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of native code goes to the log, not among the answers
    for name, descriptor in (("stdout", 1), ("stderr", 2)):  # the log's disk may be full
        log = LossyFile(descriptor, "w", closefd=False)
        setattr(sys, name, lossy_text(log, getattr(sys, name), line_buffering=True))
    requests = os.fdopen(os.dup(0), "rb")
    for module in imports:
        # A failed import is reported by the call that needs the module.
        with suppress(Exception):
            importlib.import_module(module)
    _answer_all(requests, answers)
    answers.flush()
    os._exit(0)  # native runtimes often hang or crash in their destructors


def _answer_all(requests: BinaryIO, answers: BinaryIO) -> None:
    kept: object = None
    while True:
        try:
            kind, target, args, kwargs = pickle.load(requests)
        except EOFError:
            return
        try:
            if kind == "create":
                kept = target(*args, **kwargs)
                answer: tuple[bool, Any] = (True, None)
            elif kind == "forget":
                kept = None
                gc.collect()
                trim_heap()
                answer = (True, None)
            elif kind == "invoke":
                answer = (True, getattr(kept, target)(*args, **kwargs))
            else:
                answer = (True, target(*args, **kwargs))
        except HuboptError as error:
            if error.__cause__ is not None:  # the error names only its first line
                traceback.print_exception(error.__cause__)
            answer = (False, resource_error(error, *_paths(args, kwargs)) or error)
        except Exception as error:  # every error must reach the parent, whatever its type
            answer = (False, _unexpected(error, _paths(args, kwargs)))
        try:
            data = pickle.dumps(answer)
        except Exception as error:  # a third party's result may not be picklable
            data = pickle.dumps((False, _unexpected(error)))
        answers.write(data)
        answers.flush()


def _paths(args: Sequence[object], kwargs: Mapping[str, object]) -> list[Path]:
    """Return the paths among the arguments of a call; one of them may be on a full disk."""
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Path)]


def _unexpected(error: Exception, places: Sequence[Path] = ()) -> HuboptError:
    traceback.print_exc()
    known = resource_error(error, *places)
    if known is not None:
        return known
    return WorkerCrashError(
        "child process",
        f"{type(error).__name__}: {first_line(error)}",
        "a result",
        report_advice(error),
    )
