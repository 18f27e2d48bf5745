"""`resource_error`: failures that are the machine's, told as what they are."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hubopt.errors import HuboptError, ResourceError


@dataclass(frozen=True, slots=True)
class _Shortage:
    """Something that a machine runs out of, or refuses.

    Attributes:
        numbers: The ``errno`` values that mean it.
        texts: What libraries write that hide the number; a pattern.
        found: What it is; ``{path}`` is a place, ``{free}`` what is left there.
        way_out: What to do about it.
        expected: What there should be.
        is_of_a_disk: Whether there is a place to name.
    """

    numbers: tuple[int, ...]
    texts: str
    found: str
    way_out: str
    is_of_a_disk: bool = True
    expected: str = "a place with room for what is written"


_NEVER = r"(?!)"
_NEARLY_FULL_BYTES = 64 * 10**6
_SHORTAGES = (
    _Shortage(
        (errno.ENOSPC,),
        r"No space left on device|errno = 28\b|\[Errno 28\]|ENOSPC",
        "{path} cannot be written, the disk is full{free}",
        "free some space there; --output, HUBOPT_CACHE_DIR and TMPDIR choose other disks",
    ),
    _Shortage(
        (errno.EDQUOT,),
        r"Disk quota exceeded|EDQUOT",
        "{path} cannot be written, your disk quota is used up{free}",
        "remove files of yours there, or choose another disk by --output, HUBOPT_CACHE_DIR "
        "or TMPDIR",
    ),
    _Shortage(
        (errno.EFBIG,),
        r"File too large|file size limit exceeded",
        "{path} cannot grow, the limit of file sizes is reached",
        "raise the limit (`ulimit -f`), or choose a file system that holds larger files",
    ),
    _Shortage(
        (errno.EMFILE, errno.ENFILE),
        r"Too many open files",
        "too many files are open",
        "raise the limit (`ulimit -n`), or end other programs",
        expected="a machine with enough of them for this model",
        is_of_a_disk=False,
    ),
    _Shortage(
        (errno.EAGAIN,),
        r"can't start new thread|pthread_create|fork: Resource temporarily unavailable|"
        r"libgomp: Thread creation failed",
        "no more processes or threads can be started",
        "raise the limits of processes and memory (`ulimit -u`, `ulimit -v`), or end other "
        "programs",
        expected="a machine with enough of them for this model",
        is_of_a_disk=False,
    ),
    _Shortage(
        (errno.ENOMEM,),
        r"std::bad_alloc|[Cc]annot allocate memory|failed to map segment from shared object|"
        r"[Oo]ut of memory|OOM when allocating|"
        r"Unable to allocate [^\n]* for an array|(?i:failed to allocate) [^\n]*(?:memory|bytes)|"
        r"\bMemoryError\b|CUDA_ERROR_OUT_OF_MEMORY|"
        r"RESOURCE_EXHAUSTED|Resource exhausted|ResourceExhaustedError",
        "memory ran out{detail}",
        "use smaller shapes, a smaller batch or fewer samples, end other programs, raise the "
        "limit (`ulimit -v`, the container's), or use a larger machine",
        expected="a machine with enough of it for this model",
        is_of_a_disk=False,
    ),
)
_REFUSALS = (
    _Shortage(
        (errno.EROFS,),
        r"Read-only file system",
        "the file system of {path} is read-only",
        "choose another place by --output, HUBOPT_CACHE_DIR or TMPDIR",
        expected="a place that may be read and written",
    ),
    _Shortage(
        (errno.EACCES, errno.EPERM),
        _NEVER,
        "{path} may not be read or written",
        "change its permissions, or choose another place",
        expected="a place that may be read and written",
    ),
    _Shortage(
        (errno.EIO,),
        _NEVER,
        "the device of {path} fails",
        "look at the system's log, and use another device",
        expected="a place that may be read and written",
    ),
    _Shortage(
        (errno.ENAMETOOLONG,),
        r"File name too long",
        "a path is too long at {path}",
        "choose a shorter --output, HUBOPT_CACHE_DIR or TMPDIR",
        expected="a place that may be read and written",
    ),
)
_MEMORY = next(each for each in _SHORTAGES if errno.ENOMEM in each.numbers)
_SHAPE = re.compile(r"OOM when allocating tensor with shape(?P<shape>\[[\d,]*\])")
_PATHS = (
    re.compile(r"(?P<path>[^\s;']*/[^\s;']+); "),  # TensorFlow
    re.compile(r"(?:filename = |\[Errno \d+\] [\w -]+: )'(?P<path>[^']+)'"),  # HDF5; Python, quoted
)


def resource_error(error: BaseException, *places: Path) -> ResourceError | None:
    """Return the error for a failure of the machine; None if it is another one.

    Args:
        error: What was raised; what caused it is looked at too.
        places: Folders that were written, to name one if ``error`` does not.
    """
    for each in _chain(error):
        if isinstance(each, ResourceError):
            return each
        shortage = _shortage(each)
        if shortage in _REFUSALS and isinstance(error, HuboptError):
            return None  # it says as much itself
        if shortage is not None:
            return _resource_error(shortage, each, places)
    return None


def resource_in(text: str, *places: Path) -> ResourceError | None:
    """Return the error for what a process printed before it died; None if it does not tell."""
    return resource_error(_PrintedError(text), *places)


def killed_for_memory() -> int:
    """Return how many processes the kernel has ended because memory ran out, since it started."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
        return next(int(line.split()[1]) for line in counters if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):  # no Linux
        return 0


def out_of_memory() -> ResourceError:
    """Return the error for a process that the kernel ended because memory ran out."""
    return _resource_error(_MEMORY, MemoryError(), ())


def is_shortage(error: OSError) -> bool:
    """Whether an error is of the machine or of permissions, and not of what a file holds."""
    numbers = {number for each in (*_SHORTAGES, *_REFUSALS) for number in each.numbers}
    return error.errno in (numbers | {errno.EINTR}) - {errno.EIO}


@contextmanager
def translate_resource_errors(*places: Path) -> Iterator[None]:
    """Turn failures of the machine into a `ResourceError`, while what it says is still true.

    Args:
        places: Folders that are written meanwhile.

    Raises:
        ResourceError: The machine ran out of something.
    """
    try:
        yield
    except Exception as error:
        told = resource_error(error, *places)
        if told is None or told is error:
            raise
        raise told from error


class _PrintedError(Exception):
    """A text that has no exception."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what caused it; what it merely came after only if it is not ours."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        follows = current.__context__
        if current.__suppress_context__ or isinstance(current, HuboptError):
            follows = None
        current = current.__cause__ or follows


def _shortage(error: BaseException) -> _Shortage | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, HuboptError):
        return None  # its cause tells; its text may quote anything
    if isinstance(error, OSError) and error.errno is not None:
        return next(
            (each for each in (*_SHORTAGES, *_REFUSALS) if error.errno in each.numbers), None
        )
    text = f"{type(error).__name__}: {error}"
    return next((each for each in (*_SHORTAGES, *_REFUSALS) if re.search(each.texts, text)), None)


def _resource_error(
    shortage: _Shortage, error: BaseException, places: Sequence[Path]
) -> ResourceError:
    text = str(error)
    shape = _SHAPE.search(text)
    detail = f" at a tensor of shape {shape['shape']}" if shape else ""
    thing, path, free = "this machine", "", ""
    if shortage.is_of_a_disk:
        place = _place(error, places)
        thing = f"disk {_mount(_existing(place))}" if place else "a disk"
        path, free = (str(place), _free(place)) if place else ("a file", "")
    found = shortage.found.format(path=path, free=free, detail=detail)
    return ResourceError(thing, found, shortage.expected, shortage.way_out)


def _place(error: BaseException, places: Sequence[Path]) -> Path | None:
    """Return where it happened: what the error names, else the fullest of the known places.

    None if none of those is nearly full.
    """
    if isinstance(error, OSError):
        for name in (error.filename2, error.filename):
            if isinstance(name, str | bytes | os.PathLike) and name:
                return Path(os.fsdecode(name))
    for pattern in _PATHS:
        named = pattern.search(str(error))
        if named is not None:
            return Path(named["path"])
    fullest = min((*places, Path(tempfile.gettempdir())), key=_free_bytes)
    return fullest if _free_bytes(fullest) < _NEARLY_FULL_BYTES else None


def _existing(path: Path) -> Path:
    """Return the innermost folder on the way to ``path`` that is there."""
    ways = (path, *path.absolute().parents)
    return next((each for each in ways if _is_there(each)), ways[-1])


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its name may be too long, or a folder on the way closed
        return False


def _free_bytes(path: Path) -> int:
    with suppress(OSError, AttributeError):
        found = os.statvfs(_existing(path))
        return 0 if found.f_files and not found.f_favail else found.f_bavail * found.f_frsize
    return 2**63


def _free(path: Path) -> str:
    """Return what is left where ``path`` is, in words."""
    try:
        existing = _existing(path)
        found = os.statvfs(existing)
    except (OSError, AttributeError):  # Windows has no statvfs
        return ""
    if found.f_files and not found.f_favail:
        return f": no inodes are left of {found.f_files:,}, so no file can be made there"
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return f": {free / 1e6:,.1f} MB of {size / 1e6:,.1f} MB are free"


def _mount(path: Path) -> str:
    """Return where the file system of ``path`` is mounted."""
    place = path.absolute()
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return str(place)
