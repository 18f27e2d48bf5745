"""Refuses HDF5 files that need more memory to read than they declare or than is allowed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hubopt.models.bounded import not_bounded
from hubopt.models.limits import Limits, too_large_to_unpack

MOST_CONFIG_BYTES = 32 << 20
"""The largest config; no model has a larger one. Parsed, it takes many times as much memory."""

_CHUNK_BYTES = 1 << 20
_COLLECTION = b"GCOL\1\0\0\0"
_WORD_BYTES = 8
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_HARMLESS = frozenset({_SHUFFLE, _FLETCHER32})
_CHECKSUM_BYTES = 4


def check_hdf5(file: Path | IO[bytes], thing: str, limits: Limits) -> int:
    """Refuse an HDF5 file whose values are too large, without reading them into memory.

    Args:
        file: The path, or the open file.
        thing: The subject of errors.
        limits: Their ``unpacked_bytes`` bound all datasets together.

    Returns:
        The number of bytes that all datasets take in memory.

    Raises:
        LimitError: The datasets or attributes are larger than the limits allow, by their
            declared sizes or by the inflated sizes of their chunks.
    """
    import h5py

    total = 0
    with h5py.File(file, "r") as opened:
        if opened.id.get_create_plist().get_sizes() != (_WORD_BYTES, _WORD_BYTES):
            raise not_bounded(thing, "its HDF5 file has addresses and lengths of an unusual size")
        text_bytes = _longest_text(file)
        _check_attributes(opened, text_bytes, thing, limits)
        for member in _members(opened):
            _check_attributes(member, text_bytes, thing, limits)
            if isinstance(member, h5py.Dataset):
                total += _size(member, text_bytes)
                if total > limits.unpacked_bytes:
                    raise too_large_to_unpack(
                        thing, f"its weights take {total:,} bytes or more", limits
                    )
                _check_chunks(member, thing)
    return total


def _longest_text(file: Path | IO[bytes]) -> int:
    """Return an upper bound for the bytes of the longest variable-length text in a file.

    Any number of elements may refer to the same text, and their type does not contain its length.
    The texts are stored in collections that begin with a signature and their own size.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return _longest_text(stream)
    file.seek(0)
    longest, before = 0, b""
    while chunk := file.read(_CHUNK_BYTES):
        window = before + chunk
        at = window.find(_COLLECTION)
        while at >= 0:
            size = window[at + len(_COLLECTION) : at + len(_COLLECTION) + _WORD_BYTES]
            longest = max(longest, int.from_bytes(size, "little"))
            at = window.find(_COLLECTION, at + 1)
        before = window[-len(_COLLECTION) - _WORD_BYTES :]
    return min(longest, file.tell())


def _size(dataset: Any, text_bytes: int) -> int:
    """Return the bytes that a dataset takes in memory."""
    count, itemsize = math.prod(dataset.shape or ()), dataset.dtype.itemsize
    declared = int(count * itemsize)
    if dataset.chunks:  # HDF5 holds at least one whole chunk in memory
        declared = max(declared, int(math.prod(dataset.chunks) * itemsize))
    if dataset.dtype.hasobject:
        declared += int(count * text_bytes)
    return declared


def _members(opened: Any) -> Iterator[Any]:
    """Yield every group and dataset once, without opening links to other files."""
    import h5py

    pending, seen = [opened], {_address(opened)}
    while pending:
        group = pending.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            member = group[name]
            key = _address(member)
            if key in seen:
                continue
            seen.add(key)
            yield member
            if isinstance(member, h5py.Group):
                pending.append(member)


def _address(member: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(member.id).addr)


def _check_attributes(member: Any, text_bytes: int, thing: str, limits: Limits) -> None:
    for name in member.attrs:
        attribute = member.attrs.get_id(name)
        count = math.prod(attribute.shape)
        declared = count * attribute.dtype.itemsize
        if declared > MOST_CONFIG_BYTES:
            raise not_bounded(thing, f"its attribute {name!r} takes {declared:,} bytes")
        texts = count * text_bytes
        if attribute.dtype.hasobject and count > 1 and texts > limits.unpacked_bytes:
            found = f"the {count:,} texts in its attribute {name!r} may take {texts:,} bytes"
            raise too_large_to_unpack(thing, found, limits)


def _check_chunks(dataset: Any, thing: str) -> None:
    """Check that no chunk inflates to more than its declared size.

    HDF5 itself inflates a chunk to its end, whatever its size.
    """
    filters = _filters(dataset)
    if not filters:
        return
    name = dataset.name
    unknown = [number for number in filters if number not in _HARMLESS | {_DEFLATE, _LZF}]
    if unknown or sum(number in (_DEFLATE, _LZF) for number in filters) > 1:
        raise not_bounded(
            thing, f"its dataset {name!r} has filters with output of unknown size: {filters}"
        )
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize + _CHECKSUM_BYTES
    for number in range(dataset.id.get_num_chunks()):
        stored = dataset.id.get_chunk_info(number)
        if _DEFLATE in filters:
            _, packed = dataset.id.read_direct_chunk(stored.chunk_offset)
            fits = _inflates_to(packed, chunk_bytes)
        elif _LZF in filters:
            fits = stored.size <= chunk_bytes
        else:
            fits = True
        if not fits:
            raise not_bounded(
                thing, f"a chunk of its dataset {name!r} inflates to more than it declares"
            )


def _filters(dataset: Any) -> list[int]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]


def _inflates_to(packed: bytes, most_bytes: int) -> bool:
    inflater = zlib.decompressobj()
    inflated = 0
    data = packed
    try:
        while data and not inflater.eof:
            inflated += len(inflater.decompress(data, 1 << 20))
            if inflated > most_bytes:
                return False
            data = inflater.unconsumed_tail
    except zlib.error:
        return True  # a damaged or uncompressed chunk: HDF5 reports it if it is damaged
    return True
