"""Paths that TensorFlow takes as they are: it reads a pattern where one has ``[``."""

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
    """Give another path to the folder ``path``, through a link, if it has pattern characters.

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
