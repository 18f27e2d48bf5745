"""Archives that others have packed: unpacked whole, or refused with every reason at once."""

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
    ValueError,  # tarfile: a number that is none
    OverflowError,
    LookupError,
    struct.error,
    NotImplementedError,  # zipfile: a compression that Python does not have
)


@dataclass(frozen=True, slots=True)
class _Member:
    """What an archive says about one member, whatever the format.

    Attributes:
        name: Its path as it stands in the archive.
        kind: ``file``, ``folder``, or what else it is.
        size_bytes: Unpacked.
        is_lzma: Whether it is a member of a zip that LZMA has packed.
    """

    name: str
    kind: str
    size_bytes: int
    is_lzma: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Its path without the dots that mean nothing."""
        return PurePosixPath(self.name).parts


def is_archive(path: Path) -> bool:
    """Return whether ``path`` is a tar, under whatever compression, or a zip, by its content."""
    return _is_tar(path) or zipfile.is_zipfile(path)


def unpack(
    archive: Path, folder: Path, thing: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Unpack a tar or zip into ``folder``, which must not exist yet.

    Only files and folders that stay inside are taken: no links, no devices, no absolute path,
    no ``..``. On any error nothing is left behind.

    Raises:
        HandleError: The archive is damaged, does not fit on the disk, or has members that are
            refused; all of them are named.
        LimitError: It unpacks to more than ``limits`` allow, by what it declares or by what
            comes out of it.
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
    """Do as `tarfile.is_tarfile` does, which reads a header of any length at once."""
    try:
        with open_unpacked(path) as stream:
            header = stream.read(tarfile.BLOCKSIZE)
            if header and not header.strip(b"\0"):
                return True  # an empty one
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
            "a whole tar or zip archive, and a disk that holds what is in it",
            "get the archive again; `tar tf` and `unzip -t` check one",
        ) from error


def _check(thing: str, members: Iterable[_Member], place: Path) -> None:
    """Refuse an archive for all that is wrong with its members, before any is written."""
    listed = list(members)
    problems = [
        f"{each.name}: {problem}" for each in listed if (problem := _problem(each)) is not None
    ]
    problems += _collisions(listed)
    if problems:
        raise HandleError(
            thing,
            "it has members that are refused" + "".join(f"\n  - {each}" for each in problems),
            "files and folders that stay inside the archive's own folder",
            "do not unpack it by hand unless you trust it; ask its author for a plain one",
        )
    needed, free = sum(each.size_bytes for each in listed), shutil.disk_usage(place).free
    if needed > free:
        raise HandleError(
            thing,
            f"it unpacks to {needed:,} bytes and the disk of {place.parent} has {free:,} left",
            "room for what is in the archive",
            "make room, or set TFHUB_CACHE_DIR to a larger disk",
        )


def _problem(member: _Member) -> str | None:
    path = PureWindowsPath(member.name)  # it knows both slashes, and drives
    checks = (
        (f"a {member.kind}", member.kind not in ("file", "folder")),
        ("a path with a drive letter", bool(path.drive)),
        ("an absolute path", bool(path.root)),
        ("a path that leads out with ..", ".." in path.parts),
        ("packed by LZMA, which takes any amount of memory", member.is_lzma),
    )
    return next((text for text, wrong in checks if wrong), None)


def _collisions(members: Iterable[_Member]) -> list[str]:
    """Return one sentence for each path that would have to be a file and a folder."""
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
    format_bits = stat.S_IFMT(info.external_attr >> 16)  # Unix's mode; 0 from other systems
    if format_bits in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "folder" if info.is_dir() else "file"
    else:
        kind = "symbolic link" if format_bits == stat.S_IFLNK else "device or pipe"
    # orig_filename: ZipInfo.filename has the host's separators already.
    is_lzma = info.compress_type == zipfile.ZIP_LZMA
    return _Member(info.orig_filename, kind, info.file_size, is_lzma)
