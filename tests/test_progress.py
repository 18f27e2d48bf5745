"""Progress: what is beside is told once it is waited for, and ends with what started it."""

from __future__ import annotations

import threading

import pytest

from hubopt.progress import Beside
from tests.told import Told


def test_it_runs_while_something_else_does_and_is_told_in_the_end() -> None:
    told, go = Told(), threading.Event()
    with Beside(told) as beside:

        def work() -> int:
            with beside.note("think"):
                assert go.wait(60)
            return 42

        wait = beside.start("wait for it", work)
        assert told.labels == []
        go.set()
        assert wait() == 42
    assert told.labels[0] == "wait for it"
    assert told.labels[1].startswith("meanwhile: think: ")
    assert len(told.labels) == 2


def test_an_error_comes_to_whoever_waits() -> None:
    def fail() -> None:
        raise LookupError("it is not there")

    with Beside(Told()) as beside:
        wait = beside.start("wait for it", fail)
        with pytest.raises(LookupError, match="it is not there"):
            wait()


def test_what_runs_beside_may_have_a_part_beside_it() -> None:
    told = Told()
    with Beside(told) as beside:

        def work() -> int:
            part = beside.submit(lambda: 40)
            return part() + 2

        assert beside.start("wait for it", work)() == 42
    assert told.labels == ["wait for it"], "the part is nobody's business"


def test_leaving_waits_for_the_thread() -> None:
    ended = threading.Event()
    with Beside(Told()) as beside:
        beside.start("never waited for", ended.set)
    assert ended.is_set()
