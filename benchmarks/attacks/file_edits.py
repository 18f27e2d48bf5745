"""Edits of a file on disk: of its content, depending on its format, or of its file type."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.attacks.byte_edits import Edit, edit_bytes, edit_member
from benchmarks.attacks.json_edits import edit_json
from benchmarks.attacks.npz_edits import edit_npz
from benchmarks.attacks.wire_edits import edit_message

_SPECIAL_SHARE = 0.02
"""How often a file is replaced by something that is not a regular file."""
_MESSAGE_SHARE = 0.6
"""How often an edited protocol buffer stays a valid one."""


def edit_file(draw: random.Random, path: Path, outside: Path) -> str:
    """Damage the file at ``path`` and return a description.

    Args:
        draw: The random number generator.
        path: The file.
        outside: A folder outside the one that the file belongs to.
    """
    if draw.random() < _SPECIAL_SHARE:
        name = draw.choice(sorted(SPECIALS))
        SPECIALS[name](path, outside)
        return f"{path.name} is {name}"
    data = path.read_bytes()
    edited, detail = _BY_SUFFIX.get(path.suffix, edit_bytes)(draw, data)
    if edited == data:
        edited, detail = data + b"\0", "a zero byte added"
    path.write_bytes(edited)
    return f"{path.name}: {detail}"


def _missing(path: Path, outside: Path) -> None:
    del outside
    path.unlink()


def _folder(path: Path, outside: Path) -> None:
    del outside
    path.unlink()
    path.mkdir()


def _fifo(path: Path, outside: Path) -> None:
    del outside
    path.unlink()
    os.mkfifo(path)


def _link(target: str) -> Callable[[Path, Path], None]:
    def link(path: Path, outside: Path) -> None:
        del outside
        path.unlink()
        path.symlink_to(target or path.name)

    return link


def _linked_out(path: Path, outside: Path) -> None:
    """Move the content out of its folder and leave a link to it."""
    moved = outside / f"outside-{path.name}"
    shutil.move(path, moved)
    path.symlink_to(moved)


SPECIALS: Mapping[str, Callable[[Path, Path], None]] = {
    "missing": _missing,
    "a folder": _folder,
    "a FIFO": _fifo,
    "a link to /dev/zero": _link("/dev/zero"),
    "a link to itself": _link(""),
    "a link to nothing": _link("nothing-is-here"),
    "a link out of its folder": _linked_out,
}


def _json(draw: random.Random, data: bytes) -> Edit:
    if draw.random() < 1 / 6:
        return edit_bytes(draw, data)
    edited, detail = edit_json(draw, json.loads(data))
    return json.dumps(edited).encode(), detail


def _message(draw: random.Random, data: bytes) -> Edit:
    return (edit_message if draw.random() < _MESSAGE_SHARE else edit_bytes)(draw, data)


def _keras(draw: random.Random, data: bytes) -> Edit:
    """Edit the archive's own bytes, or those of a member, with a correct checksum."""
    if draw.random() < 0.4:
        return edit_bytes(draw, data)
    return edit_member(draw, data, _keras_member)


def _keras_member(draw: random.Random, name: str, data: bytes) -> Edit:
    return _json(draw, data) if name.endswith(".json") else edit_bytes(draw, data)


_BY_SUFFIX: Mapping[str, Callable[[random.Random, bytes], Edit]] = {
    ".json": _json,
    ".keras": _keras,
    ".npz": edit_npz,
    ".onnx": _message,
    ".pb": _message,
}
