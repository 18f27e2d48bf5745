"""Progress: a background step is reported when the caller waits for it."""

from __future__ import annotations

import threading

import pytest

from hubopt.progress import Background, done
from tests.recorder import Recorder


def test_work_runs_concurrently_and_is_reported_at_the_end() -> None:
    recorder, go = Recorder(), threading.Event()
    with Background(recorder) as background:

        def work() -> int:
            with background.note("think"):
                assert go.wait(60)
            return 42

        future = background.submit(work)
        assert recorder.labels == []
        threading.Timer(0.2, go.set).start()
        assert background.wait(future, "wait for it") == 42
    assert recorder.labels[0] == "wait for it"
    assert recorder.labels[1].startswith("meanwhile: think: ")
    assert len(recorder.labels) == 2


def test_a_finished_result_causes_no_wait() -> None:
    recorder = Recorder()
    with Background(recorder) as background:
        with background.note("think"):
            pass
        assert background.wait(done(42), "wait for it") == 42
        assert background.wait(done(43), "wait for more") == 43
    (stage,) = recorder.labels
    assert stage.startswith("meanwhile: think: "), "it must be reported only once"


def test_an_error_is_raised_to_every_waiter() -> None:
    def fail() -> None:
        raise LookupError("it is not there")

    with Background(Recorder()) as background:
        future = background.submit(fail)
        for _ in range(2):
            with pytest.raises(LookupError, match="it is not there"):
                background.wait(future, "wait for it")


def test_background_work_may_submit_more_background_work() -> None:
    recorder, go = Recorder(), threading.Event()
    with Background(recorder) as background:

        def work() -> int:
            part = background.submit(lambda: 40)
            assert go.wait(60)
            return part.result() + 2

        future = background.submit(work)
        threading.Timer(0.2, go.set).start()
        assert background.wait(future, "wait for it") == 42
    assert recorder.labels == ["wait for it"], "the nested part must not be reported"


def test_leaving_waits_for_the_thread() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(60)
        ended.set()

    with Background(Recorder()) as background:
        background.submit(work)
        threading.Timer(0.2, go.set).start()
    assert ended.is_set()
