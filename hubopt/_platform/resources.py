"""`resource_error`: recognizes failures of the machine, such as a full disk, in any error."""

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
    """A resource that a machine runs out of, or an access that it refuses.

    Attributes:
        numbers: The ``errno`` values that indicate it.
        texts: A pattern for the messages of libraries that hide the ``errno``.
        found: A description; ``{path}`` is a path, ``{free}`` the free space there.
        way_out: What to do about it.
        expected: What the machine should have.
        is_of_a_disk: Whether it concerns a path, which the error can name.
    """

    numbers: tuple[int, ...]
    texts: str
    found: str
    way_out: str
    is_of_a_disk: bool = True
    expected: str = "a disk with enough free space"


_NEVER = r"(?!)"
_NEARLY_FULL_BYTES = 64 * 10**6
_SHORTAGES = (
    _Shortage(
        (errno.ENOSPC,),
        r"No space left on device|errno = 28\b|\[Errno 28\]|ENOSPC",
        "{path} cannot be written, the disk is full{free}",
        "free some space there, or choose another disk with --output, HUBOPT_CACHE_DIR or TMPDIR",
    ),
    _Shortage(
        (errno.EDQUOT,),
        r"Disk quota exceeded|EDQUOT",
        "{path} cannot be written, your disk quota is used up{free}",
        "remove some of your files there, or choose another disk with --output, "
        "HUBOPT_CACHE_DIR or TMPDIR",
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
        expected="a limit of open files that is high enough for this model",
        is_of_a_disk=False,
    ),
    _Shortage(
        (errno.EAGAIN,),
        r"can't start new thread|pthread_create|fork: Resource temporarily unavailable|"
        r"libgomp: Thread creation failed",
        "no more processes or threads can be started",
        "raise the limits of processes and memory (`ulimit -u`, `ulimit -v`), or end other "
        "programs",
        expected="a machine with enough processes and threads for this model",
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
        expected="a machine with enough memory for this model",
        is_of_a_disk=False,
    ),
)
_REFUSALS = (
    _Shortage(
        (errno.EROFS,),
        r"Read-only file system",
        "the file system of {path} is read-only",
        "choose another place with --output, HUBOPT_CACHE_DIR or TMPDIR",
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
        "the device that holds {path} fails",
        "check the system's log, and use another device",
        expected="a place that may be read and written",
    ),
    _Shortage(
        (errno.ENAMETOOLONG,),
        r"File name too long",
        "a path is too long: {path}",
        "choose a shorter --output, HUBOPT_CACHE_DIR or TMPDIR",
        expected="a place that may be read and written",
    ),
)
_MEMORY = next(kind for kind in _SHORTAGES if errno.ENOMEM in kind.numbers)
_SHAPE = re.compile(r"OOM when allocating tensor with shape(?P<shape>\[[\d,]*\])")
_PATHS = (
    re.compile(r"(?P<path>[^\s;']*/[^\s;']+); "),  # TensorFlow
    re.compile(r"(?:filename = |\[Errno \d+\] [\w -]+: )'(?P<path>[^']+)'"),  # HDF5; Python, quoted
)


def resource_error(error: BaseException, *places: Path) -> ResourceError | None:
    """Return the `ResourceError` for a failure of the machine; None for any other failure.

    Args:
        error: The error that was raised; its causes are examined too.
        places: Folders that were written to; one of them is named if ``error`` names no path.
    """
    for cause in _chain(error):
        if isinstance(cause, ResourceError):
            return cause
        shortage = _shortage(cause)
        if shortage in _REFUSALS and isinstance(error, HuboptError):
            return None  # its own message already says so
        if shortage is not None:
            return _resource_error(shortage, cause, places)
    return None


def resource_in(text: str, *places: Path) -> ResourceError | None:
    """Return the `ResourceError` in the output of a dead process; None if it mentions none."""
    return resource_error(_PrintedError(text), *places)


def killed_for_memory() -> int:
    """Return how many processes the kernel has killed for lack of memory since it started."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
        return next(int(line.split()[1]) for line in counters if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):  # no Linux
        return 0


def out_of_memory() -> ResourceError:
    """Return the error for a process that the kernel killed for lack of memory."""
    return _resource_error(_MEMORY, MemoryError(), ())


def is_shortage(error: OSError) -> bool:
    """Whether an error comes from the machine or permissions, not from the content of a file."""
    numbers = {number for kind in (*_SHORTAGES, *_REFUSALS) for number in kind.numbers}
    return error.errno in (numbers | {errno.EINTR}) - {errno.EIO}


@contextmanager
def translate_resource_errors(*places: Path) -> Iterator[None]:
    """Turn failures of the machine into a `ResourceError` at once, while its figures still hold.

    Args:
        places: Folders that the context writes to.

    Raises:
        ResourceError: The machine ran out of a resource.
    """
    try:
        yield
    except Exception as error:
        translated = resource_error(error, *places)
        if translated is None or translated is error:
            raise
        raise translated from error


class _PrintedError(Exception):
    """Text that a process printed, to be examined like an error."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; of a `HuboptError` only the explicit cause."""
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
        return None  # judge by its cause, as its text may quote anything
    if isinstance(error, OSError) and error.errno is not None:
        return next(
            (kind for kind in (*_SHORTAGES, *_REFUSALS) if error.errno in kind.numbers), None
        )
    text = f"{type(error).__name__}: {error}"
    return next((kind for kind in (*_SHORTAGES, *_REFUSALS) if re.search(kind.texts, text)), None)


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
    """Return the path that the error names, or else the fullest of the known places.

    None if none of these places is nearly full.
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
    """Return ``path`` or its nearest parent that exists."""
    candidates = (path, *path.absolute().parents)
    return next((folder for folder in candidates if _exists(folder)), candidates[-1])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its name may be too long, or a parent folder not accessible
        return False


def _free_bytes(path: Path) -> int:
    with suppress(OSError, AttributeError):
        space = os.statvfs(_existing(path))
        return 0 if space.f_files and not space.f_favail else space.f_bavail * space.f_frsize
    return 2**63


def _free(path: Path) -> str:
    """Return the free space on the disk of ``path``, as the end of a sentence."""
    try:
        existing = _existing(path)
        space = os.statvfs(existing)
    except (OSError, AttributeError):  # Windows has no statvfs
        return ""
    if space.f_files and not space.f_favail:
        return f": no inodes are left of {space.f_files:,}, so no file can be created there"
    free, size = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    return f": {free / 1e6:,.1f} MB of {size / 1e6:,.1f} MB are free"


def _mount(path: Path) -> str:
    """Return where the file system of ``path`` is mounted."""
    place = path.absolute()
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return str(place)
