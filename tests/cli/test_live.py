"""Progress: lines on a terminal while steps run; in a pipe, two lines for a step."""

from __future__ import annotations

import io
import re
import threading
import time

from hubopt.cli.console import EscapingConsole
from hubopt.cli.live import LiveProgress
from hubopt.progress import Background


def console(terminal: bool) -> tuple[EscapingConsole, io.StringIO]:
    stream = io.StringIO()
    return EscapingConsole(file=stream, force_terminal=terminal, width=80, markup=False), stream


def test_in_a_pipe_a_step_is_one_line_at_its_begin_and_one_at_its_end() -> None:
    talk, stream = console(terminal=False)
    progress, go = LiveProgress(talk), threading.Event()
    with Background(progress) as background:

        def work() -> None:
            with background.note("choose samples"):
                assert go.wait(60)

        begun = background.submit(work)
        while not progress._beside:
            time.sleep(0.01)
        with progress("onnx: export"):
            assert stream.getvalue() == "     ...  onnx: export (beside: choose samples)\n"
        go.set()
        background.wait(begun, "wait for the layer's answers")
    progress.finished("trace: from the cache")
    lines = re.sub(r"\d+\.\d s", "# s", stream.getvalue()).splitlines()
    assert [line for line in lines if "wait for" not in line] == [
        "     ...  onnx: export (beside: choose samples)",
        "   # s  onnx: export",
        "   # s  meanwhile: choose samples: # s",
        "   # s  trace: from the cache",
    ]


def test_on_a_terminal_every_running_step_has_a_line_with_its_time() -> None:
    talk, stream = console(terminal=True)
    progress = LiveProgress(talk)
    with progress.beside("choose samples"), progress("onnx: export"):
        assert progress._live is not None
        progress._live.refresh()
        frame = stream.getvalue()
        assert re.search(r"0:00:00 \S*beside: choose samples", re.sub(r"\x1b\[[\d;]*m", "", frame))
        assert "onnx: export" in frame
        assert "     ...  " not in frame
    assert progress._live is None, "the display must end with the last step"
    ended = re.sub(r"\x1b\[[\d;?]*\w", "", stream.getvalue())
    assert "   0.0 s  onnx: export" in ended


def test_names_cannot_control_the_terminal() -> None:
    talk, stream = console(terminal=True)
    with LiveProgress(talk)("x\x1b[2J\x1b]0;owned\x07"):
        pass
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_quiet_reports_nothing() -> None:
    for terminal in (True, False):
        talk, stream = console(terminal)
        talk.quiet = True
        progress = LiveProgress(talk)
        with progress("a"), progress.beside("b"):
            pass
        progress.finished("c")
        assert stream.getvalue() == ""
