"""A child process that several users share."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from hubopt.errors import WorkerCrashError
from hubopt.workers.shared import SharedWorker


def crash() -> None:
    os.write(2, b"native code says why\n")
    os.abort()


def test_users_share_one_child_and_have_their_own_logs(tmp_path: Path) -> None:
    with SharedWorker(tmp_path / "log", {"HUBOPT_TEST": "x"}) as child:
        pids = []
        for name in ("one", "other"):
            with child.use(tmp_path / name) as worker:
                pids.append(worker.call(os.getpid))
                worker.call(os.write, 2, name.encode())
                assert worker.call(os.getenv, "HUBOPT_TEST") == "x"
        assert pids[0] == pids[1]
    assert [(tmp_path / name).read_text() for name in ("one", "other")] == ["one", "other"]


def test_a_crash_is_reported_to_its_user_and_to_nobody_else(tmp_path: Path) -> None:
    with SharedWorker(tmp_path / "log") as child:
        begun = Event()

        def use_and_crash() -> None:
            with child.use(tmp_path / "one") as worker:
                begun.set()
                time.sleep(0.2)  # so that the other user is already waiting
                worker.call(crash)

        with ThreadPoolExecutor(1) as pool:
            crashing = pool.submit(use_and_crash)
            begun.wait()
            with child.use(tmp_path / "other") as worker:
                assert worker.call(os.getpid) != os.getpid()
            with pytest.raises(WorkerCrashError, match="native code says why"):
                crashing.result()


def test_a_new_child_is_started_after_a_rest(tmp_path: Path) -> None:
    with SharedWorker(tmp_path / "log") as child:
        first = child.start()
        assert child.start() is first
        child.rest()
        assert not first.is_running
        assert child.start() is not first


def test_leaving_the_context_ends_a_call_in_another_thread(tmp_path: Path) -> None:
    """Waiting for the thread takes no longer than the child takes to end."""
    begun = Event()

    def sleep(child: SharedWorker) -> None:
        with child.use(tmp_path / "one") as worker:
            begun.set()
            worker.call(time.sleep, 60)

    with ThreadPoolExecutor(1) as pool:
        with SharedWorker(tmp_path / "log") as child:
            sleeping = pool.submit(sleep, child)
            begun.wait()
        with pytest.raises(WorkerCrashError, match="SIGKILL"):
            sleeping.result()
    assert child.is_stopped


def test_no_child_is_started_after_the_context_was_left(tmp_path: Path) -> None:
    with SharedWorker(tmp_path / "log") as child:
        pass
    with pytest.raises(WorkerCrashError, match="before it began"):
        child.start()
