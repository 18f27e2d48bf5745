"""A process and its descendants, read from Linux's ``/proc``."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of ``/proc/PID/stat``.

    Attributes:
        pid: Its number, which another process may get after this one has ended.
        parent: The number of its parent.
        session: Its session, by the number of the leader; a child inherits it.
        start_ticks: When it began, in clock ticks since the machine started.
        cpu_s: Its processor time on all cores, in seconds.
        rss_bytes: Its resident memory, including pages shared with other processes.
    """

    pid: int
    parent: int
    session: int
    start_ticks: int
    cpu_s: float
    rss_bytes: int

    @property
    def key(self) -> tuple[int, int]:
        """Distinguishes it from a later process with the same number."""
        return self.pid, self.start_ticks

    @property
    def label(self) -> str:
        """The shortened command, such as ``python -m hubopt``; empty if the process is gone."""
        try:
            words = (_PROC / str(self.pid) / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return ""
        shown = words[1:3] if words[1:2] == ["-m"] else words[1:2]
        return " ".join((Path(words[0]).name, *shown))[:60].rstrip()

    @property
    def is_there(self) -> bool:
        """Whether it is still running."""
        return (_PROC / str(self.pid)).exists()

    def anonymous_bytes(self) -> int | None:
        """Return its resident memory that belongs to no file; None if the process is gone."""
        return self._read("status", ("RssAnon:",)).get("RssAnon:")

    def mapped(self) -> Mapped | None:
        """Return its shared memory; this is slow, because the kernel looks at every page.

        None if the process is gone, or if the kernel does not report it.
        """
        own = ("Pss_Anon:", "Pss_File:", "Pss_Shmem:")
        sizes, anonymous = self._read("smaps_rollup", own), self.anonymous_bytes()
        if anonymous is None or sizes.keys() != set(own):
            return None
        files = sizes["Pss_File:"] + sizes["Pss_Shmem:"]
        return Mapped(max(0, anonymous - sizes["Pss_Anon:"]), files)

    def _read(self, file: str, names: Collection[str]) -> dict[str, int]:
        try:
            lines = (_PROC / str(self.pid) / file).read_text(errors="replace").splitlines()
        except OSError:
            return {}
        words = (line.split() for line in lines)
        return {
            fields[0]: int(fields[1]) * 1024 for fields in words if fields and fields[0] in names
        }


@dataclass(frozen=True, slots=True)
class Mapped:
    """The shared memory of a process: a page that n processes share counts as 1/n of it.

    Attributes:
        others_bytes: The part of its anonymous memory that counts for others, such as after a fork.
        files_bytes: Its share of mapped files and of shared memory.
    """

    others_bytes: int
    files_bytes: int


class Tree:
    """A process, its descendants, and all other processes in its session.

    A descendant whose parent has ended belongs to init, and a descendant may start its own session,
    so processes that were seen once stay members.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._seen: set[tuple[int, int]] = set()

    def members(self) -> list[Process]:
        """Return the members that are running."""
        running = _running()
        inside = {
            process.pid
            for process in running
            if self._leader in (process.pid, process.session) or process.key in self._seen
        }
        children = [
            process for process in running if process.parent in inside and process.pid not in inside
        ]
        while children:
            inside |= {process.pid for process in children}
            children = [
                process
                for process in running
                if process.parent in inside and process.pid not in inside
            ]
        found = [process for process in running if process.pid in inside]
        self._seen |= {process.key for process in found}
        return found

    def kill(self) -> None:
        """Kill all members, repeatedly, because members may have started others meanwhile."""
        for _ in range(10):
            members = self.members()
            if not members:
                return
            for process in members:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def _running() -> list[Process]:
    """Return every running process; zombies hold no memory and are left out."""
    found = []
    for name in os.listdir(_PROC):  # noqa: PTH208 - twenty times a second
        if name.isdecimal():
            try:
                text = (_PROC / name / "stat").read_text(errors="replace")
            except OSError:
                continue
            # The name is in parentheses and may contain anything; proc_pid_stat(5) counts from 1.
            fields = text[text.rindex(")") + 2 :].split()
            if fields[0] not in "ZX":
                found.append(
                    Process(
                        pid=int(name),
                        parent=int(fields[1]),
                        session=int(fields[3]),
                        start_ticks=int(fields[19]),
                        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
                        rss_bytes=int(fields[21]) * _PAGE_BYTES,
                    )
                )
    return found
