"""Write small archives that unpack to gigabytes, openly or with a false declared size."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

_PIECE = 16 << 20


@dataclass
class Packed:
    """A member of a zip whose content is one byte, repeated.

    Attributes:
        name: The member's name.
        fill: The repeated byte.
        size_bytes: The unpacked size.
        declared: The unpacked size in the header; by default the true one.
        method: The number of the compression method.
    """

    name: str
    fill: bytes
    size_bytes: int
    declared: int | None = None
    method: int = 8


def write_zip(path: Path, *members: Packed, shared: bool = False) -> Path:
    """Write a zip by hand, because zipfile cannot write a wrong size.

    Args:
        path: The file to write.
        members: The members of the archive.
        shared: Whether every entry points to the data of the first member.
    """
    listing, first = b"", 0
    with path.open("wb") as stream:
        for number, member in enumerate(members):
            data, checksum = _deflated(member)
            size = member.size_bytes if member.declared is None else member.declared
            fields = (20, 0, member.method, 0, 33, checksum, len(data), size)
            name = member.name.encode()
            place = stream.tell()
            if shared and number:
                place = first
            else:
                first = place
                stream.write(struct.pack("<4s5H3L2H", b"PK\3\4", *fields, len(name), 0) + name)
                stream.write(data)
            head = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *fields, len(name), *[0] * 5, place)
            listing += head + name
        start = stream.tell()
        count = len(members)
        stream.write(listing)
        stream.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listing), start, 0))
    return path


def _deflated(member: Packed) -> tuple[bytes, int]:
    """Compress one piece and repeat the result, so that gigabytes take no time."""
    piece, rest = member.fill * _PIECE, member.size_bytes % _PIECE
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    count = member.size_bytes // _PIECE
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = first * count + last.compress(piece[:rest]) + last.flush()
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(piece, checksum)
    return data, zlib.crc32(piece[:rest], checksum)
