"""A child process must never end its parent."""

import os
import signal
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubopt.errors import ExportError, WorkerCrashError
from hubopt.workers.worker import Worker


def double(number: int) -> int:
    return 2 * number


def abort() -> None:
    os.write(2, b"native code says why\n")
    os.abort()


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(7)


def fail() -> None:
    raise ExportError("onnx artifact", "found", "expected", "way out")


def stumble() -> None:
    raise RuntimeError("an exporter's bug")


def chatter() -> int:
    print("to standard output")
    os.write(1, b"from native code\n")
    return 1


def give_an_answer_that_cannot_be_pickled() -> object:
    return lambda: None


def give_an_answer_of_a_module_that_only_the_child_has() -> object:
    module = types.ModuleType("only_in_the_child")
    exec("class Thing:\n    pass", module.__dict__)
    sys.modules["only_in_the_child"] = module
    return module.Thing()


class Counter:
    def __init__(self, start: int) -> None:
        self._count = start

    def next(self) -> int:
        self._count += 1
        return self._count


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


def test_a_function_runs_in_the_child(log: Path) -> None:
    with Worker(log) as worker:
        assert worker.call(double, 21) == 42
        assert worker.call(os.getpid) != os.getpid()


def test_an_object_stays_in_the_child(log: Path) -> None:
    with Worker(log) as worker:
        counter = worker.create(Counter, 5)
        assert [counter.next(), counter.next()] == [6, 7]


def test_an_object_is_gone_after_forget(log: Path) -> None:
    with Worker(log) as worker:
        counter = worker.create(Counter, 5)
        worker.forget()
        with pytest.raises(WorkerCrashError, match="NoneType"):
            counter.next()


def grandchild_environment(log: Path) -> tuple[str | None, str | None]:
    with Worker(log) as worker:
        return worker.call(os.getenv, "HUBOPT_TEST"), worker.call(os.getenv, "HUBOPT_OTHER")


def test_a_child_of_a_child_begins_with_the_environment_of_the_first_parent(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBOPT_TEST", "before")
    with Worker(log, {"HUBOPT_TEST": "changed", "HUBOPT_OTHER": "new"}) as worker:
        assert worker.call(os.getenv, "HUBOPT_TEST") == "changed"
        assert worker.call(grandchild_environment, tmp_path / "inner") == ("before", None)


def test_is_running_reports_whether_the_child_is_alive(log: Path) -> None:
    with Worker(log) as worker:
        assert worker.is_running
        with pytest.raises(WorkerCrashError):
            worker.call(abort)
        assert not worker.is_running


@pytest.mark.parametrize(
    ("crash", "message"),
    [
        (abort, "ended by SIGABRT"),
        (be_killed, "SIGKILL, as the kernel does when memory runs out"),
        (leave, "exited with code 7"),
    ],
)
def test_a_crash_is_an_error_with_the_cause(log: Path, crash: object, message: str) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError) as caught:
        worker.call(crash)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_the_error_for_a_crash_contains_the_end_of_the_log(log: Path) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError, match="native code says why"):
        worker.call(abort)


def refuse() -> None:
    """Fail as an exporter whose converter prints a wall of text."""
    try:
        raise LookupError("the cause\n" + "and a line of the wall\n" * 100)
    except LookupError as error:
        raise ExportError("artifact", "the cause", "expected", "way out") from error


def gather_out_of_range() -> None:
    import tensorflow as tf

    tf.function(lambda at: tf.gather([1.0, 2.0], at))(tf.constant([9]))


def call_numpy_wrongly() -> None:
    from hubopt.sampling.arrays import read_samples

    read_samples(1, ())  # type: ignore[arg-type]


def test_what_an_error_cuts_off_is_in_the_log(log: Path) -> None:
    with Worker(log) as worker, pytest.raises(ExportError, match="artifact: the cause\n  expected"):
        worker.call(refuse)
    assert log.read_text().count("and a line of the wall") >= 100


@pytest.mark.parametrize(
    ("function", "found", "way_out"),
    [
        (
            gather_out_of_range,
            "InvalidArgumentError: indices[0] = 9 is not in [0, 2)",
            "it was raised by tensorflow, not by hubopt; see the traceback, which is in ",
        ),
        (stumble, "RuntimeError: an exporter's bug", "it was raised by tests, not by hubopt; "),
        (call_numpy_wrongly, "", "this is a defect of hubopt; please report it with the "),
    ],
)
def test_only_an_error_of_hubopts_own_code_is_called_its_defect(
    log: Path, function: object, found: str, way_out: str
) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError) as caught:
        worker.call(function)  # type: ignore[arg-type]
    assert found in caught.value.found
    assert "\n" not in caught.value.found
    assert caught.value.way_out.startswith(way_out)


def chatter_and_abort() -> None:
    os.write(2, b"the reason\n" + b"WARNING:tensorflow:From x.py:81: f is deprecated\n" * 20)
    os.write(2, b"I0000 00:00:1795875491.992829   19312 cudart_stub.cc:31] Could not find cuda\n")
    os.abort()


def test_what_tensorflow_writes_anyway_is_not_the_last_word(log: Path) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError) as caught:
        worker.call(chatter_and_abort)
    assert caught.value.found == "the process was ended by SIGABRT; it last said:\n    the reason"


def test_an_error_of_hubopt_is_raised_unchanged(log: Path) -> None:
    with Worker(log) as worker:
        with pytest.raises(ExportError, match="onnx artifact: found"):
            worker.call(fail)
        assert worker.call(double, 1) == 2


def test_any_other_error_is_reported_and_its_traceback_logged(log: Path) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError, match="RuntimeError: an exporter"):
        worker.call(stumble)
    assert "in stumble" in log.read_text()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (give_an_answer_that_cannot_be_pickled, "<lambda>"),
        (
            give_an_answer_of_a_module_that_only_the_child_has,
            "its answer cannot be read: No module named",
        ),
    ],
)
def test_an_answer_that_cannot_be_transferred_is_reported(
    log: Path, function: object, message: str
) -> None:
    with Worker(log) as worker, pytest.raises(WorkerCrashError, match=message):
        worker.call(function)  # type: ignore[arg-type]


def test_the_output_of_the_child_goes_to_the_log(log: Path) -> None:
    with Worker(log) as worker:
        assert worker.call(chatter) == 1
    assert "from native code" in log.read_text()


def test_leaving_the_context_ends_the_child_at_once(log: Path) -> None:
    start = time.monotonic()
    with Worker(log) as worker:
        child = worker.call(os.getpid)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_module_in_the_working_folder_does_not_shadow_the_real_one(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with Worker(log) as worker:
        assert worker.call(double, 1) == 2


def imported(module: str) -> bool:
    return module in sys.modules


def test_modules_are_imported_before_they_are_needed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Worker(log) as cold, Worker(log, imports=("wave", "no_such_module")) as warm:
        assert not cold.call(imported, "wave")
        assert warm.call(imported, "wave")


def test_every_thread_gets_its_own_answer(log: Path) -> None:
    with Worker(log) as worker, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(worker.call, divmod, number, 7) for number in range(200)]
        assert [answer.result() for answer in asked] == [divmod(number, 7) for number in range(200)]


def test_output_goes_to_the_current_log(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with Worker(first) as worker:
        worker.call(chatter)
        worker.log_to(second)
        worker.call(chatter)
        with pytest.raises(WorkerCrashError, match="native code says why"):
            worker.call(abort)
    for log in (first, second):
        assert log.read_text().count("from native code") == 1
    assert "native code says why" in second.read_text()
