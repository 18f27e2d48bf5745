"""Paths without pattern characters: TensorFlow takes a path with ``[`` for a pattern."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubopt._util.owned_folders import TEMPORARY, owned_folder

_PATTERN = re.compile(r"[*?\[\]\\]")


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Yield ``path``, or a link to this folder if ``path`` has pattern characters.

    Raises:
        OSError: The link cannot be made.
    """
    absolute = path.absolute()
    if not _PATTERN.search(str(absolute)):
        yield path
        return
    with owned_folder(Path(tempfile.gettempdir()), TEMPORARY) as folder:
        link = folder / "link"
        link.symlink_to(absolute, target_is_directory=True)
        yield link
