"""The first signal ends a command in order; later and ignored signals change nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hubopt._util.signals import deferred_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

FILLING = """
import shutil, sys, time
from pathlib import Path
from hubopt._util import owned_folders
from hubopt._util.signals import unwind_on_signals
from hubopt._platform.staging import staging

rmtree = shutil.rmtree

def slow(path, **options):
    print("cleaning", flush=True)
    time.sleep(0.5)
    rmtree(path, **options)

shutil.rmtree = slow
unwind_on_signals()
with staging(Path(sys.argv[1])) as folder:
    (folder / "folder").mkdir()
    (folder.parent / "other").mkdir()
    print("filling", flush=True)
    # Short sleeps: a signal between Python's look for one and the system's call waits for its end.
    end = time.monotonic() + {seconds}
    while time.monotonic() < end:
        time.sleep(0.02)
"""


def reset() -> None:
    """Reset the signals as in a terminal, also where the tests run in the background."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ignore_all() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def filling(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a process that fills a folder and whose clean-up takes half a second."""

    def start(seconds: float, before: Callable[[], None] = reset) -> subprocess.Popen[str]:
        code = FILLING.format(seconds=seconds)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "deep" / "out")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "filling\n"
        return process

    return start


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("first", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_second_signal_does_not_disturb_the_clean_up_after_the_first(
    filling: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    first: int,
    second: int,
    code: int,
) -> None:
    process = filling(1000)
    process.send_signal(first)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning\n"
    for _ in range(3):
        process.send_signal(second)
        time.sleep(0.05)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_signal_after_the_work_is_done_does_not_disturb_the_clean_up(
    filling: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = filling(0)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(
    filling: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int
) -> None:
    process = filling(0.5, ignore_all)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / "deep" / "out").is_dir()


def test_nohup_keeps_an_export_running(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hubopt", "export", str(tiny), "-t", "tflite", "--rounds", "0"]
    process = subprocess.Popen(
        [*command, "--noise", "off", "-o", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "trace" in line:
            break
    subprocess.run(["kill", "-HUP", "--", f"-{process.pid}"], check=True)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert (tmp_path / "out" / "hubopt.json").is_file()


def test_a_deferred_signal_is_delivered_at_the_end() -> None:
    came: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append("handled"))
    try:
        with deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            came.append("cleaned")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == ["cleaned", "handled"]
