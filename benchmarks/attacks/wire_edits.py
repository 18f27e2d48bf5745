"""Edits inside a protocol buffer: one field at any depth, with correct lengths around it.

Random changes of bytes mostly break a length, and the parser refuses the whole file. These edits
reach the code behind the parser. No schema is needed: bytes that can be parsed as a message count
as one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.attacks.byte_edits import EXTREMES, Edit, edit_bytes, to_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_DEEPER_SHARE = 0.9
_TEXTS = (
    b"", b"../../outside", b"/etc/passwd", b"\xff\xfe", b"\x1b[2J", b"nothing_of_this_name",
    b"^a:0", b"WriteFile", b"PyFunc", b"x" * 70_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    kind: int
    value: int | bytes


def edit_message(draw: random.Random, data: bytes) -> Edit:
    """Edit one field of the message; bytes that are not a message are edited as bytes."""
    fields = _decode(data)
    if not fields:
        return edit_bytes(draw, data)
    # Weigh by the root of the size, so that neither large graphs nor small fields get all edits.
    weights = [
        len(candidate.value) ** 0.5 + 1 if isinstance(candidate.value, bytes) else 1
        for candidate in fields
    ]
    at = draw.choices(range(len(fields)), weights)[0]
    field, place = fields[at], f"{fields[at].number}"
    if isinstance(field.value, bytes) and _decode(field.value) and draw.random() < _DEEPER_SHARE:
        value, detail = edit_message(draw, field.value)
        fields[at] = _Field(field.number, field.kind, value)
        return _encode(fields), f"{place}.{detail}" if detail[0].isdigit() else f"{place}: {detail}"
    edit = draw.choice(("value", "value", "value", "drop", "again", "exchange", "number"))
    if edit == "drop":
        del fields[at]
    elif edit == "again":
        fields[at:at] = [field] * draw.choice((1, 1, 100))
    elif edit == "exchange":
        other = draw.randrange(len(fields))
        fields[at], fields[other] = (
            _Field(field.number, fields[other].kind, fields[other].value),
            _Field(fields[other].number, field.kind, field.value),
        )
    elif edit == "number":
        fields[at] = _Field(draw.randint(1, 40), field.kind, field.value)
    else:
        fields[at] = _Field(field.number, field.kind, _value(draw, field))
    return _encode(fields), f"{place}: {edit}"


def _value(draw: random.Random, field: _Field) -> int | bytes:
    if isinstance(field.value, int):
        near = (field.value + 1, field.value ^ 1, field.value * 1000, max(0, field.value - 1))
        number = draw.choice((*EXTREMES, *near))
        size = _SIZES.get(field.kind)
        return int(number % (1 << (8 * size if size else 64)))
    if draw.random() < 0.3:
        return draw.choice(_TEXTS)
    return edit_bytes(draw, field.value)[0]


def _decode(data: bytes) -> list[_Field]:
    """Return the fields of a message; an empty list if the bytes are not a message."""
    fields, at = [], 0
    while at < len(data):
        read = _read_varint(data, at)
        if read is None:
            return []
        key, at = read
        number, kind = key >> 3, key & 7
        if number == 0 or number > 20_000:
            return []
        if kind in _SIZES:
            size = _SIZES[kind]
            value: int | bytes = int.from_bytes(data[at : at + size], "little")
        elif kind in (_VARINT, _BYTES):
            read = _read_varint(data, at)
            if read is None:
                return []
            value, at = read
            size = 0
            if kind == _BYTES:
                size = value
                value = data[at : at + size]
        else:
            return []
        if at + size > len(data):
            return []
        at += size
        fields.append(_Field(number, kind, value))
    return fields


def _encode(fields: list[_Field]) -> bytes:
    written = bytearray()
    for field in fields:
        written += to_varint(field.number << 3 | field.kind)
        if isinstance(field.value, bytes):
            written += to_varint(len(field.value)) + field.value
        elif field.kind in _SIZES:
            written += field.value.to_bytes(_SIZES[field.kind], "little")
        else:
            written += to_varint(field.value)
    return bytes(written)


def _read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at
    return None
