"""A process and its descendants, as Linux tells of them in ``/proc``."""

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
        pid: Its number, which another process may get once this one is gone.
        parent: The number of the process that it belongs to.
        session: Whose session it is in; a child inherits it.
        start_ticks: When it began, in clock ticks since the machine did.
        cpu_s: Seconds of all cores that it took.
        rss_bytes: Resident memory, with pages that other processes have, too.
    """

    pid: int
    parent: int
    session: int
    start_ticks: int
    cpu_s: float
    rss_bytes: int

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from a later process of the same number."""
        return self.pid, self.start_ticks

    @property
    def label(self) -> str:
        """The command in short, ``python -m hubopt``, ``python -c``; empty once it is gone."""
        try:
            words = (_PROC / str(self.pid) / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return ""
        shown = words[1:3] if words[1:2] == ["-m"] else words[1:2]
        return " ".join((Path(words[0]).name, *shown))[:60].rstrip()

    @property
    def is_there(self) -> bool:
        """Whether it still runs."""
        return (_PROC / str(self.pid)).exists()

    def anonymous_bytes(self) -> int | None:
        """Return its resident memory that is of no file; None when it is gone."""
        return self._read("status", ("RssAnon:",)).get("RssAnon:")

    def mapped(self) -> Mapped | None:
        """Return what it shares; slow, for the kernel looks at every page.

        None when the process is gone, or where the kernel does not tell.
        """
        own = ("Pss_Anon:", "Pss_File:", "Pss_Shmem:")
        told, anonymous = self._read("smaps_rollup", own), self.anonymous_bytes()
        if anonymous is None or told.keys() != set(own):
            return None
        files = told["Pss_File:"] + told["Pss_Shmem:"]
        return Mapped(max(0, anonymous - told["Pss_Anon:"]), files)

    def _read(self, file: str, names: Collection[str]) -> dict[str, int]:
        try:
            lines = (_PROC / str(self.pid) / file).read_text(errors="replace").splitlines()
        except OSError:
            return {}
        words = (line.split() for line in lines)
        return {each[0]: int(each[1]) * 1024 for each in words if each and each[0] in names}


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a process shares with others: a page that n processes have counts as 1/n of it.

    Attributes:
        others_bytes: Of its anonymous memory, what counts for others, as after a fork.
        files_bytes: Its share of mapped files and of shared memory.
    """

    others_bytes: int
    files_bytes: int


class Tree:
    """The processes that come from one: its descendants, and whatever is left in its session.

    A descendant whose parent ended belongs to init, and one may open a session of its own, so
    those that were seen once stay members.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._seen: set[tuple[int, int]] = set()

    def members(self) -> list[Process]:
        """Return those that run now."""
        running = _running()
        inside = {
            each.pid
            for each in running
            if self._leader in (each.pid, each.session) or each.key in self._seen
        }
        children = [each for each in running if each.parent in inside and each.pid not in inside]
        while children:
            inside |= {each.pid for each in children}
            children = [e for e in running if e.parent in inside and e.pid not in inside]
        found = [each for each in running if each.pid in inside]
        self._seen |= {each.key for each in found}
        return found

    def kill(self) -> None:
        """End all of them; again, for those that a member began meanwhile."""
        for _ in range(10):
            members = self.members()
            if not members:
                return
            for each in members:
                with suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)


def _running() -> list[Process]:
    """Return every process that runs; a zombie holds nothing and is left out."""
    found = []
    for name in os.listdir(_PROC):  # noqa: PTH208 - twenty times a second
        if name.isdecimal():
            try:
                text = (_PROC / name / "stat").read_text(errors="replace")
            except OSError:
                continue
            # The name is in parentheses and may hold anything; proc_pid_stat(5) counts from 1.
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
