"""A lack of memory, files, file size or processes is reported as such, wherever it happens."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt as package
from hubopt._platform.resources import resource_error, resource_in
from hubopt._util import defects
from hubopt.cli import common
from hubopt.errors import ExportError, HuboptError, ResourceError, WorkerCrashError
from hubopt.models.loading import load_error
from hubopt.programs.tracing import trace
from hubopt.workers.worker import Worker
from tests.conftest import Ran

resource = pytest.importorskip("resource")  # no Windows
MISLEADING = ("save the model again", "tf.function", "defect", "Traceback")


def causing(cause: BaseException) -> ExportError:
    """Return an error of hubopt that ``cause`` caused."""
    error = ExportError("onnx artifact", "tf2onnx cannot convert it", "a graph", "see the log")
    error.__cause__ = cause
    return error


def system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (system(errno.ENOSPC, "/nowhere/file"), "/nowhere/file cannot be written, the disk is"),
        (system(errno.EDQUOT, "/nowhere/file"), "your disk quota is used up"),
        (system(errno.EFBIG, "/nowhere/file"), "the limit of file sizes is reached"),
        (system(errno.EROFS, "/nowhere/file"), "the file system of /nowhere/file is read-only"),
        (system(errno.EMFILE, "/nowhere/file"), "too many files are open"),
        (system(errno.ENFILE), "too many files are open"),
        (system(errno.EAGAIN), "no more processes or threads can be started"),
        (system(errno.ENOMEM), "memory ran out"),
        (system(errno.EACCES, "/nowhere/file"), "/nowhere/file may not be read or written"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("can't start new thread"), "no more processes or threads can be started"),
        (RuntimeError("std::bad_alloc"), "memory ran out"),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "x/y/part-0.data; No space left on device"
            ),
            "x/y/part-0.data cannot be written, the disk is full",
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "/x/saved_model.pb; Too many open files"),
            "too many files are open",
        ),
        (
            tf.errors.UnknownError(None, None, "/x/saved_model.pb.tmp1; Disk quota exceeded"),
            "/x/saved_model.pb.tmp1 cannot be written, your disk quota is used up",
        ),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "OOM when allocating tensor with shape[99,99] and type float"
            ),
            "memory ran out at a tensor of shape [99,99]",
        ),
        (
            OSError(
                "Unable to synchronously create file (unable to open file: name = '/x/y.h5', "
                "errno = 28, error message = 'No space left on device', flags = 13)"
            ),
            "the disk is full",
        ),
        (ImportError("libtf.so: failed to map segment from shared object"), "memory ran out"),
        (np.exceptions.DTypePromotionError("no shortage"), None),
        (KeyError("no shortage"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), None),
    ],
)
def test_a_resource_error_is_reported_whoever_raises_it_and_whatever_it_causes(
    error: Exception, message: str | None
) -> None:
    found = resource_error(error)
    outer = resource_error(causing(error))
    if message is None:
        assert found is None
        assert outer is None
        return
    assert found is not None
    assert message in found.found
    assert found.exit_code == 5
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return  # hubopt's own error already says as much, and more
    assert outer is not None
    assert message in outer.found


def test_an_error_that_was_handled_before_is_no_cause() -> None:
    def fail() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise ExportError("a", "b", "c", "d") from None

    with pytest.raises(ExportError) as caught:
        fail()
    assert resource_error(caught.value) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [(system(errno.ENOSPC, "/x/file"), "the disk is full"), (MemoryError(), "memory ran out")],
)
def test_neither_loading_nor_tracing_blames_the_model(
    tmp_path: Path, error: Exception, message: str
) -> None:
    def refuse(x: Any) -> Any:
        raise error

    layer = package.KerasLayer(refuse)
    spec = package.resolve(
        package.KerasLayer(tf.identity), package.Hints.parse(["2x3"], ["float32"])
    )
    with pytest.raises(ResourceError, match=message) as caught:
        trace(layer, spec, tmp_path / "program")
    for text in (str(caught.value), str(load_error("model", error))):
        assert message in text
        assert not any(phrase in text for phrase in MISLEADING)


def limit_file_size(_: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def limit_memory(_: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))


def limit_files(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def write_much(folder: Path) -> None:
    (folder / "file").write_bytes(b"x" * 10**5)


def use_much(_: Path) -> None:
    np.ones(2**28)


def open_much(folder: Path) -> None:
    _opened = [(folder / str(at)).open("wb") for at in range(100)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
@pytest.mark.parametrize(
    ("limit", "use", "message"),
    [
        (limit_file_size, write_much, "the limit of file sizes is reached"),
        (limit_memory, use_much, "memory ran out"),
        (limit_files, open_much, "too many files are open"),
    ],
)
def test_a_limit_in_a_child_is_reported(
    tmp_path: Path, limit: Callable[[int], None], use: Callable[[Path], None], message: str
) -> None:
    with Worker(tmp_path / "log") as worker:
        worker.call(limit, 32)
        with pytest.raises(ResourceError, match=message):
            worker.call(use, tmp_path)


def die_of_memory() -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def test_a_child_that_dies_for_lack_of_memory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Worker(tmp_path / "log") as worker,
        pytest.raises(ResourceError, match="memory ran out"),
    ):
        worker.call(die_of_memory)
    counts = iter([3, 4])
    monkeypatch.setattr("hubopt.workers.worker.killed_for_memory", lambda: next(counts))
    with (
        Worker(tmp_path / "log2") as worker,
        pytest.raises(ResourceError, match="memory ran out"),
    ):
        worker.call(signal.raise_signal, signal.SIGKILL)
    assert resource_in("Segmentation fault") is None


def test_a_child_that_cannot_be_started_leaves_only_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise system(errno.EAGAIN)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(BlockingIOError) as caught:
        Worker(tmp_path / "log")
    error = resource_error(caught.value)
    assert error is not None
    assert "no more processes" in error.found
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
@pytest.mark.parametrize(
    ("limit", "message"),
    [("-f 8", "the limit of file sizes is reached"), ("-n 12", "too many files are open")],
)
def test_a_limit_of_the_command_is_reported(
    tiny: Path, tmp_path: Path, limit: str, message: str
) -> None:
    command = f"{sys.executable} -m hubopt export {tiny} -t onnx -o {tmp_path}/out --rounds 0"
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; {command} --noise off --no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert message in done.stderr
    assert not any(phrase in done.stderr for phrase in MISLEADING)
    assert list(tmp_path.iterdir()) == []


def stumble() -> None:
    raise RuntimeError("a bug")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's log folder."""
    monkeypatch.setattr("platformdirs.user_log_dir", lambda name: str(tmp_path / "logs"))
    return tmp_path / "logs"


def fail(error: Exception) -> Ran:
    """Run a command that raises ``error``."""
    import io

    import typer
    from rich.console import Console

    @common.report_errors
    def verb() -> None:
        raise error

    stream, before = io.StringIO(), common.talk
    common.talk = Console(file=stream, width=500, markup=False, highlight=False)
    try:
        with pytest.raises(typer.Exit) as caught:
            verb()
    finally:
        common.talk = before
    return Ran(caught.value.exit_code, "", stream.getvalue())


def test_an_unexpected_error_names_its_log(logs: Path) -> None:
    ran = fail(RuntimeError("a bug"))
    (log,) = logs.iterdir()
    assert ran.code == 1
    assert ran.err.startswith("error: RuntimeError: a bug\n")
    assert "it was raised by tests, not by hubopt; see the traceback, which is in " in ran.err
    assert str(log) in ran.err
    assert "RuntimeError: a bug" in log.read_text()
    assert "in verb" in log.read_text()


def test_a_defect_without_a_log_shows_the_traceback(logs: Path) -> None:
    logs.write_text("no folder can be here")
    ran = fail(RuntimeError("a bug"))
    assert ran.code == 1
    assert "in verb" in ran.err


def test_logs_are_bounded(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr(os, "getpid", lambda: next(numbers))
    kept = [defects.keep_traceback(RuntimeError("a bug")) for _ in range(30)]
    assert kept[-1] is not None
    assert kept[-1].exists()
    assert len(list(logs.iterdir())) == 20


@pytest.mark.parametrize("error", [system(errno.ENOSPC, "/x"), MemoryError(), system(errno.EMFILE)])
def test_an_error_of_resources_is_no_defect(logs: Path, error: Exception) -> None:
    ran = fail(error)
    assert ran.code == 5
    assert "defect" not in ran.err
    assert not logs.exists()


def test_a_defect_in_a_child_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Worker(tmp_path / "log") as worker, pytest.raises(WorkerCrashError) as caught:
        worker.call(stumble)
    path = Path(caught.value.way_out.rpartition(" ")[2])
    assert "in stumble" in path.read_text()


def test_threads_that_cannot_be_started_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError) as caught:
        threading.Thread().start()
    assert isinstance(resource_error(caught.value), HuboptError)
