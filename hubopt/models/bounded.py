"""Bounded reading of untrusted archives, whose headers or contents may inflate without end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from hubopt.errors import LimitError
from hubopt.models.limits import Limits, too_large_to_unpack

_CHUNK_BYTES = 1 << 20
_MOST_AT_ONCE = 16 << 20
"""The largest header, or list of members of a zip; no archive of a model has a larger one."""
_MOST_MEMORY = 256 << 20
"""The memory limit for decompressing an xz stream; `xz -9` takes 65 MB."""
_MOST_HEADERS = 128 << 20
"""The largest total size of the headers of an archive; its contents are counted separately."""
_MOST_MEMBERS = 100_000


class BoundedFile:
    """A seekable file that refuses reads of large pieces and reads beyond a bound.

    Args:
        file: The file to read.
        thing: The subject of errors.
        limits: Their ``unpacked_bytes`` bound the position, without the headers.
        most_read: The largest number of bytes to read, not counting skipped bytes; None for any.
    """

    def __init__(
        self, file: IO[bytes], thing: str, limits: Limits, most_read: int | None = None
    ) -> None:
        self._file = file
        self._thing = thing
        self._limits = limits
        self._read = 0
        self.most_read = most_read

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes, or the rest, which must not be larger than a header."""
        to_end = size is None or size < 0
        wanted = _MOST_AT_ONCE + 1 if size is None or size < 0 else size
        if wanted > _MOST_AT_ONCE and not to_end:
            raise not_bounded(self._thing, f"it has a header of {wanted:,} bytes")
        data = self._file.read(wanted)
        self._read += len(data)
        if len(data) > _MOST_AT_ONCE:
            raise not_bounded(self._thing, f"it has a header of more than {_MOST_AT_ONCE:,} bytes")
        if self.most_read is not None and self._read > self.most_read:
            raise not_bounded(self._thing, f"it has more than {self.most_read:,} bytes of headers")
        self._check(self._file.tell())
        return data

    def _check(self, position: int) -> None:
        most = self._limits.unpacked_bytes
        if position > most + _MOST_HEADERS:
            found = f"it unpacks to more than {most:,} bytes"
            raise too_large_to_unpack(self._thing, found, self._limits)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position, which must be within the bound."""
        if whence == 0:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def open_zip(file: Path, thing: str, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose declared sizes, number of members and headers are within bounds.

    Raises:
        LimitError: They exceed the bounds, or members share their data.
        zipfile.BadZipFile: The zip is damaged.
    """
    with file.open("rb") as stream:
        # The size of the file itself is not bounded; its list of members is read in one piece.
        bounded: Any = BoundedFile(stream, thing, replace(limits, unpacked_bytes=sys.maxsize))
        with zipfile.ZipFile(bounded) as opened:
            check_sizes(thing, [member.file_size for member in opened.infolist()], limits)
            _refuse_shared_data(thing, opened.infolist())
            yield opened


@contextmanager
def open_tar(file: Path, thing: str, limits: Limits) -> Iterator[tarfile.TarFile]:
    """Open a tar, compressed or not, with bounds for its headers and sizes.

    Raises:
        LimitError: They exceed the bounds.
        tarfile.TarError: The tar is damaged.
    """
    with open_unpacked(file) as stream:
        bounded: Any = BoundedFile(stream, thing, limits, most_read=_MOST_HEADERS)
        with tarfile.open(fileobj=bounded, mode="r:") as opened:
            sizes: list[int] = []
            total = 0
            for member in opened:
                sizes.append(member.size)
                total += member.size
                if len(sizes) > _MOST_MEMBERS or total > limits.unpacked_bytes:
                    break  # the rest may never end
            check_sizes(thing, sizes, limits)
            bounded.most_read = None
            yield opened


def check_sizes(thing: str, sizes: Iterable[int], limits: Limits) -> None:
    """Refuse an archive for the declared sizes of its members, before anything is unpacked.

    Raises:
        LimitError: There are too many members, or they are too large in total.
    """
    listed = list(sizes)
    if len(listed) > _MOST_MEMBERS:
        raise not_bounded(thing, f"it has more than {_MOST_MEMBERS:,} members")
    if any(size < 0 for size in listed):
        raise not_bounded(thing, "it has members with a negative size")
    if sum(listed) > limits.unpacked_bytes:
        raise too_large_to_unpack(thing, f"it unpacks to {sum(listed):,} bytes or more", limits)


def _refuse_shared_data(thing: str, members: Iterable[zipfile.ZipInfo]) -> None:
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            found = f"its member {member.filename!r} shares its data with another one"
            raise not_bounded(thing, found)
        end = member.header_offset + member.compress_size


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file, decompressing it if it is compressed with gzip, bzip2, xz or lzma."""
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path)  # type: ignore[return-value]
    if magic.startswith(b"BZh"):
        return bz2.open(path)
    if magic.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        raw: Any = _Xz(path)
        return io.BufferedReader(raw, _CHUNK_BYTES)
    return path.open("rb")


def copy_bounded(source: Any, target: IO[bytes], thing: str, limits: Limits) -> None:
    """Copy a decompressing stream into a file.

    Raises:
        LimitError: It unpacks to more than the limits allow.
    """
    copied = 0
    while chunk := source.read(_CHUNK_BYTES):
        copied += len(chunk)
        if copied > limits.unpacked_bytes:
            found = f"it unpacks to more than {limits.unpacked_bytes:,} bytes"
            raise too_large_to_unpack(thing, found, limits)
        target.write(chunk)


class _Xz(io.RawIOBase):
    """The decompressed content of an xz or lzma file; `lzma.LZMAFile` has no memory limit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("rb")
        self._start()

    def _start(self) -> None:
        self._stream.seek(0)
        self._position = 0
        self._unpack = self._new()

    def _new(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_MOST_MEMORY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        target = offset if whence == 0 else self._position + offset
        if target < self._position:
            self._start()
        while self._position < target:
            if not self.read(min(_CHUNK_BYTES, target - self._position)):
                break
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = b""
        while not data:
            if self._unpack.eof:
                rest = self._unpack.unused_data.lstrip(b"\0") or self._stream.read(_CHUNK_BYTES)
                if not rest.strip(b"\0"):
                    break
                self._unpack = self._new()
            elif self._unpack.needs_input:
                rest = self._stream.read(_CHUNK_BYTES)
                if not rest:
                    raise EOFError("the compressed file ends too soon")
            else:
                rest = b""
            data = self._unpack.decompress(rest, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def not_bounded(thing: str, found: str) -> LimitError:
    """Return the error for an archive that no flag allows."""
    return LimitError(
        thing,
        found,
        "headers, lists of members and configs of the usual size for models",
        "ask its author for a plain file; to load it anyway, load it in Python and pass "
        "package.module:attribute",
    )
