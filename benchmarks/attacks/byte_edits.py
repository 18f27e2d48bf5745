"""Random damage to bytes, like that by broken disks, truncated copies and fuzzers."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Mapping

Edit = tuple[bytes, str]
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def flip(draw: random.Random, data: bytes) -> Edit:
    """Flip one to eight bits."""
    edited = bytearray(data)
    places = [draw.randrange(len(data)) for _ in range(draw.randint(1, 8))]
    for at in places:
        edited[at] ^= 1 << draw.randrange(8)
    return bytes(edited), f"bits flipped at {places}"


def overwrite(draw: random.Random, data: bytes) -> Edit:
    """Overwrite up to 64 bytes with random bytes."""
    at, size = _range(draw, data, 64)
    return data[:at] + draw.randbytes(size) + data[at + size :], f"{size} random bytes at {at}"


def truncate(draw: random.Random, data: bytes) -> Edit:
    """Cut off the end, often the whole content or only the last bytes."""
    size = draw.choice((0, draw.randrange(len(data)), max(0, len(data) - draw.randint(1, 32))))
    return data[:size], f"cut off at {size} of {len(data)}"


def append(draw: random.Random, data: bytes) -> Edit:
    """Add bytes at the end."""
    more = draw.choice((b"\0" * 512, draw.randbytes(draw.randint(1, 64)), data))
    return data + more, f"{len(more)} bytes added"


def delete(draw: random.Random, data: bytes) -> Edit:
    """Remove a block."""
    at, size = _range(draw, data)
    return data[:at] + data[at + size :], f"{size} bytes left out at {at}"


def zero(draw: random.Random, data: bytes) -> Edit:
    """Fill a block with one byte value, like a hole in a file."""
    at, size = _range(draw, data)
    fill = draw.choice((b"\0", b"\xff"))
    return data[:at] + fill * size + data[at + size :], f"{size} bytes of {fill!r} at {at}"


def swap(draw: random.Random, data: bytes) -> Edit:
    """Exchange two blocks."""
    size = draw.randint(1, max(1, len(data) // 4))
    one, other = sorted(draw.randrange(max(1, len(data) - size)) for _ in range(2))
    other = max(other, one + size)
    middle, first, second = data[one + size : other], data[one:], data[other : other + size]
    edited = data[:one] + second + middle + first[:size] + data[other + size :]
    return edited, f"{size} bytes exchanged between {one} and {other}"


def splice(draw: random.Random, data: bytes) -> Edit:
    """Insert a copy of a block at another position."""
    at, size = _range(draw, data)
    to = draw.randrange(len(data))
    edited = data[:to] + data[at : at + size] + data[to:]
    return edited, f"{size} bytes of {at} inserted at {to}"


def length(draw: random.Random, data: bytes) -> Edit:
    """Write an extreme number where a length may be: a byte, 32 or 64 bits, a varint."""
    at, number = draw.randrange(len(data)), draw.choice(EXTREMES)
    size = draw.choice((1, 4, 8, 0))
    if size == 0:
        written = to_varint(number)
        size = 1
        while at + size < len(data) and data[at + size - 1] & 0x80:
            size += 1
    else:
        written = (number & (2 ** (8 * size) - 1)).to_bytes(size, "little")
    return data[:at] + written + data[at + size :], f"number {number} over {size} bytes at {at}"


EDITS: Mapping[str, Callable[[random.Random, bytes], Edit]] = {
    edit.__name__: edit
    for edit in (flip, overwrite, truncate, append, delete, zero, swap, splice, length)
}


def edit_bytes(draw: random.Random, data: bytes) -> Edit:
    """Apply one of `EDITS`; flips are the most frequent, because they get deepest into readers."""
    if not data:
        return append(draw, b"\0")
    name = draw.choices(list(EDITS), [4, 2, 1, 1, 1, 2, 1, 1, 3])[0]
    return EDITS[name](draw, data)


def edit_member(
    draw: random.Random,
    data: bytes,
    edit: Callable[[random.Random, str, bytes], Edit],
) -> Edit:
    """Edit one member of a zip archive and write correct checksums, so that readers accept it.

    Args:
        draw: The random number generator.
        data: The archive.
        edit: Edits a member, given its name and bytes.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(members))
    members[name], detail = edit(draw, name, members[name])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return stream.getvalue(), f"{name}: {detail}"


def _range(draw: random.Random, data: bytes, most: int | None = None) -> tuple[int, int]:
    size = draw.randint(1, max(1, min(most or len(data) // 4, len(data))))
    return draw.randrange(max(1, len(data) - size + 1)), size


def to_varint(number: int) -> bytes:
    """Write a number as protocol buffers do."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
