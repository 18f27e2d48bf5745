"""When a parent is killed, its children end too, and the next run removes its leftovers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hubopt._platform.staging import staging
from hubopt._util.owned_folders import TEMPORARY, owned_folder, sweep
from hubopt.models.cache import Entry
from hubopt.workers.lifeline import lifeline, tethered
from hubopt.workers.worker import Worker, temporary_log
from tests.leftovers import left_by_a_killed_process

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 10.0

PARENT = """
import os, sys, threading, time
from pathlib import Path
from hubopt.workers.worker import Worker
from tests.security.test_parent_killed import {function} as busy

def start():
    # The thread that starts a child ends long before the child does.
    started.append(Worker(Path(sys.argv[1])))

started = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.3)
print(started[0].call(os.getpid), flush=True)
started[0].call(busy, sys.argv[2])
"""


def hold_the_interpreter(_: str) -> None:
    """Compute in native code that never releases the GIL."""
    sum(range(10**11))


def start_another(pid: str) -> None:
    """Start a child of this process, which is a grandchild of the killed process."""
    with temporary_log() as log, Worker(log) as worker:
        Path(pid).write_text(str(worker.call(os.getpid)))
        worker.call(time.sleep, 1000)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ends(pid: int) -> bool:
    end = time.monotonic() + DEADLINE_S
    while is_running(pid):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def parent(tmp_path: Path) -> Callable[[str], tuple[subprocess.Popen[str], int]]:
    """Start a process with a busy child; return the process and the child's process id."""

    def start(function: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", PARENT.format(function=function)]
        process = subprocess.Popen(
            [*command, str(tmp_path / "log"), str(tmp_path / "grandchild")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    return start


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process in native code")
def test_a_child_in_native_code_ends_with_its_parent(
    parent: Callable[[str], tuple[subprocess.Popen[str], int]],
) -> None:
    process, child = parent("hold_the_interpreter")
    time.sleep(0.2)
    assert is_running(child)
    kill(process)
    assert ends(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process in native code")
def test_a_child_that_is_still_starting_ends_too(tmp_path: Path) -> None:
    """The child has not yet imported the code that watches its parent."""
    code = (
        "import os, signal, sys; from pathlib import Path; import hubopt.workers.worker as ours\n"
        "ours._CHILD = 'import time; time.sleep(1000)'\n"
        "print(ours.Worker(Path(sys.argv[1]))._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert ends(int(done.stdout))


def test_a_grandchild_ends_too(
    parent: Callable[[str], tuple[subprocess.Popen[str], int]], tmp_path: Path
) -> None:
    process, child = parent("start_another")
    while not (tmp_path / "grandchild").exists() or not (tmp_path / "grandchild").read_text():
        time.sleep(0.02)
    grandchild = int((tmp_path / "grandchild").read_text())
    assert is_running(grandchild)
    kill(process)
    assert ends(child)
    assert ends(grandchild)


def test_a_child_whose_parent_died_before_it_asked_ends_at_once() -> None:
    code = (
        "import os, sys, time; from hubopt.workers.lifeline import die_with_parent; "
        "read, write = os.pipe(); os.close(write); die_with_parent(read); time.sleep(1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=DEADLINE_S)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a time limit ends it")
def test_a_third_party_program_ends_with_its_parent(tmp_path: Path) -> None:
    code = "import os; print(os.getpid(), flush=True); sum(range(10**11))"
    with lifeline() as descriptor:
        assert descriptor is not None
        process = subprocess.Popen(
            tethered([sys.executable, "-c", code], descriptor),
            pass_fds=(descriptor,),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    process.stdout.close()


def write_a_temporary_file() -> str:
    import tempfile

    handle, path = tempfile.mkstemp()
    os.close(handle)
    return path


def test_temporary_files_of_a_child_are_removed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Worker(tmp_path / "log") as worker:
        made = Path(worker.call(write_a_temporary_file))
        assert made.exists()
        assert made.parent.parent == tmp_path
        with pytest.raises(Exception, match="SIGKILL"):
            worker.call(os.kill, worker.call(os.getpid), signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_next_worker_cleans_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = left_by_a_killed_process(tmp_path, TEMPORARY)
    with owned_folder(tmp_path, TEMPORARY) as running, temporary_log() as log:
        assert not left.exists()
        assert running.exists()
        assert sorted(tmp_path.iterdir()) == sorted([running, log.parent])


def test_the_next_export_cleans_the_folder_of_its_output(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from hubopt._platform.staging import staging\n"
        "with staging(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "one")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with staging(tmp_path / "two") as running:
        assert list(tmp_path.iterdir()) == [running.parent]
        with staging(tmp_path / "three"):
            assert running.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]


def test_the_next_fetch_cleans_the_model_cache(tmp_path: Path) -> None:
    left = left_by_a_killed_process(tmp_path, "0123.", ".hubopt.tmp")

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "saved_model.pb").touch()

    with owned_folder(tmp_path, "4567.", ".hubopt.tmp") as running:
        Entry("another", "another", tmp_path).fill(make)
        assert running.exists()
    assert not left.exists()
    assert not list(tmp_path.glob("*.hubopt.tmp"))


@pytest.mark.parametrize("kind", ["files without a lock", "link", "file", "other name"])
def test_the_sweep_leaves_other_files_alone(tmp_path: Path, kind: str) -> None:
    """A user's own folder stays, and so does a link to a folder whose lock is free."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").touch()
    place = tmp_path / (f"{TEMPORARY}x" if kind != "other name" else "x")
    if kind == "files without a lock":
        theirs.rename(place)
        theirs = place
    elif kind == "link":
        (theirs / ".hubopt.lock").touch()
        place.symlink_to(theirs)
    elif kind == "file":
        place.touch()
    else:
        (theirs / ".hubopt.lock").touch()
        theirs.rename(place)
        theirs = place
    sweep(tmp_path, TEMPORARY)
    assert (theirs / "precious").exists()
    assert os.path.lexists(place)


def test_a_process_killed_before_it_had_a_lock_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}x").mkdir()
    sweep(tmp_path, TEMPORARY)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_does_not_remove_a_folder_that_another_process_just_made(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from hubopt._util.owned_folders import owned_folder\n"
        "for at in range(300):\n"
        "    with owned_folder(Path(sys.argv[1]), 'x-') as folder:\n"
        "        (folder / 'file').touch(); assert (folder / 'file').exists()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert list(tmp_path.iterdir()) == []
