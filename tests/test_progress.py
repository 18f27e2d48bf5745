"""Progress: what is in the background is told once it is waited for."""

from __future__ import annotations

import threading

import pytest

from hubopt.progress import Background, done
from tests.recorder import Recorder


def test_it_runs_while_something_else_does_and_is_reported_in_the_end() -> None:
    told, go = Recorder(), threading.Event()
    with Background(told) as background:

        def work() -> int:
            with background.note("think"):
                assert go.wait(60)
            return 42

        future = background.submit(work)
        assert told.labels == []
        threading.Timer(0.2, go.set).start()
        assert background.wait(future, "wait for it") == 42
    assert told.labels[0] == "wait for it"
    assert told.labels[1].startswith("meanwhile: think: ")
    assert len(told.labels) == 2


def test_what_is_there_already_is_no_wait() -> None:
    told = Recorder()
    with Background(told) as background:
        with background.note("think"):
            pass
        assert background.wait(done(42), "wait for it") == 42
        assert background.wait(done(43), "wait for more") == 43
    (stage,) = told.labels
    assert stage.startswith("meanwhile: think: "), "and once only"


def test_an_error_comes_to_whoever_waits() -> None:
    def fail() -> None:
        raise LookupError("it is not there")

    with Background(Recorder()) as background:
        future = background.submit(fail)
        for _ in range(2):
            with pytest.raises(LookupError, match="it is not there"):
                background.wait(future, "wait for it")


def test_what_runs_in_the_background_may_have_a_part_there() -> None:
    told, go = Recorder(), threading.Event()
    with Background(told) as background:

        def work() -> int:
            part = background.submit(lambda: 40)
            assert go.wait(60)
            return part.result() + 2

        future = background.submit(work)
        threading.Timer(0.2, go.set).start()
        assert background.wait(future, "wait for it") == 42
    assert told.labels == ["wait for it"], "the part is nobody's business"


def test_leaving_waits_for_the_thread() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(60)
        ended.set()

    with Background(Recorder()) as background:
        background.submit(work)
        threading.Timer(0.2, go.set).start()
    assert ended.is_set()
