"""Untrusted archives: unpacked completely, or refused with all reasons at once."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from hubopt._platform.staging import staging
from hubopt.errors import HandleError, HuboptError
from hubopt.models.bounded import open_tar, open_unpacked, open_zip
from hubopt.models.limits import DEFAULT_LIMITS, Limits

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # zipfile: a password is needed
    ValueError,  # tarfile: an invalid number
    OverflowError,
    LookupError,
    struct.error,
    NotImplementedError,  # zipfile: a compression that Python does not support
)


@dataclass(frozen=True, slots=True)
class _Member:
    """The description of a member of a tar or zip archive.

    Attributes:
        name: Its path as written in the archive.
        kind: ``file``, ``folder``, or the name of another kind.
        size_bytes: The unpacked size.
        is_lzma: Whether it is a member of a zip that is compressed with LZMA.
    """

    name: str
    kind: str
    size_bytes: int
    is_lzma: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of its path, without ``.`` parts."""
        return PurePosixPath(self.name).parts


def is_archive(path: Path) -> bool:
    """Return whether ``path`` is a tar, compressed or not, or a zip, by its content."""
    return _is_tar(path) or zipfile.is_zipfile(path)


def unpack(
    archive: Path, folder: Path, thing: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Unpack a tar or zip into ``folder``, which must not exist yet.

    Only files and folders inside ``folder`` are accepted: no links, no devices, no absolute
    paths, no ``..``. If there is an error, nothing is left behind.

    Raises:
        HandleError: The archive is damaged, does not fit on the disk, or has members that are
            refused; all of them are named.
        LimitError: It unpacks to more than ``limits`` allow, by its declared sizes or by its
            actual contents.
    """
    thing = thing or f"archive {archive}"
    with _translate_damage(thing), staging(folder) as inside:
        if _is_tar(archive):
            with open_tar(archive, thing, limits) as tar:
                _check(thing, map(_tar_member, tar.getmembers()), inside)
                tar.extractall(inside, filter="data")
        else:
            with open_zip(archive, thing, limits) as zipped:
                _check(thing, map(_zip_member, zipped.infolist()), inside)
                zipped.extractall(inside)


def _is_tar(path: Path) -> bool:
    """Return whether ``path`` is a tar.

    `tarfile.is_tarfile` is not used because it reads a header of any length in one piece.
    """
    try:
        with open_unpacked(path) as stream:
            header = stream.read(tarfile.BLOCKSIZE)
            if header and not header.strip(b"\0"):
                return True  # an empty tar
            tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "replace")
    except _DAMAGE:
        return False
    return True


@contextmanager
def _translate_damage(thing: str) -> Iterator[None]:
    try:
        yield
    except HuboptError:
        raise
    except _DAMAGE as error:
        raise HandleError(
            thing,
            f"cannot be unpacked: {type(error).__name__}: {error}",
            "a complete tar or zip archive, and enough disk space for its contents",
            "get the archive again; `tar tf` and `unzip -t` check an archive",
        ) from error


def _check(thing: str, members: Iterable[_Member], place: Path) -> None:
    """Refuse an archive with all problems of its members, before any member is written."""
    listed = list(members)
    problems = [
        f"{member.name}: {problem}"
        for member in listed
        if (problem := _problem(member)) is not None
    ]
    problems += _collisions(listed)
    if problems:
        raise HandleError(
            thing,
            "it has members that are refused" + "".join(f"\n  - {line}" for line in problems),
            "files and folders inside the archive's own folder",
            "do not unpack it by hand unless you trust it; ask its author for an archive of plain "
            "files",
        )
    needed, free = sum(member.size_bytes for member in listed), shutil.disk_usage(place).free
    if needed > free:
        raise HandleError(
            thing,
            f"it unpacks to {needed:,} bytes and the disk of {place.parent} has {free:,} left",
            "enough disk space for the contents of the archive",
            "free some space, or set TFHUB_CACHE_DIR to a larger disk",
        )


def _problem(member: _Member) -> str | None:
    path = PureWindowsPath(member.name)  # it parses both kinds of slashes, and drives
    checks = (
        (f"a {member.kind}", member.kind not in ("file", "folder")),
        ("a path with a drive letter", bool(path.drive)),
        ("an absolute path", bool(path.root)),
        ("a path that leads out with ..", ".." in path.parts),
        ("compressed with LZMA, which may take any amount of memory", member.is_lzma),
    )
    return next((text for text, wrong in checks if wrong), None)


def _collisions(members: Iterable[_Member]) -> list[str]:
    """Return a problem for each path that would have to be both a file and a folder."""
    listed = list(members)
    folders = {member.parts[:end] for member in listed for end in range(1, len(member.parts))}
    folders |= {member.parts for member in listed if member.kind == "folder"}
    return [
        f"{member.name}: a file where another member needs a folder"
        for member in listed
        if member.kind == "file" and member.parts in folders
    ]


def _tar_member(info: tarfile.TarInfo) -> _Member:
    kinds = {
        "file": info.isfile(),
        "folder": info.isdir(),
        "symbolic link": info.issym(),
        "hard link": info.islnk(),
    }
    kind = next((name for name, fits in kinds.items() if fits), "device or pipe")
    return _Member(info.name, kind, info.size)


def _zip_member(info: zipfile.ZipInfo) -> _Member:
    format_bits = stat.S_IFMT(info.external_attr >> 16)  # the Unix mode; 0 if made on other systems
    if format_bits in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "folder" if info.is_dir() else "file"
    else:
        kind = "symbolic link" if format_bits == stat.S_IFLNK else "device or pipe"
    # ZipInfo.filename is already converted to the separators of this system.
    is_lzma = info.compress_type == zipfile.ZIP_LZMA
    return _Member(info.orig_filename, kind, info.file_size, is_lzma)
