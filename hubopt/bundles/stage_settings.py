"""The folder and the size limit of the stage cache, read from environment variables."""

from __future__ import annotations

import os
from pathlib import Path

from hubopt._util.sizes import SIZES, parse_size
from hubopt.bundles.stage_store import StageStore
from hubopt.errors import UsageError

FOLDER_VARIABLE = "HUBOPT_CACHE_DIR"
LIMIT_VARIABLE = "HUBOPT_CACHE_MAX_BYTES"

_DEFAULT_BYTES = 10 * 10**9


def open_store() -> StageStore:
    """Return the store, without writing anything yet.

    Raises:
        UsageError: ``HUBOPT_CACHE_MAX_BYTES`` is not a size.
    """
    import platformdirs

    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("hubopt")) / "stages"
    return StageStore(folder.expanduser().absolute(), read_limit(os.environ.get(LIMIT_VARIABLE)))


def read_limit(text: str | None) -> int:
    """Parse a size such as ``20GB``, ``1.5GiB`` or a plain number; return its bytes.

    Args:
        text: The text that the user set; None or an empty text means 10 GB.

    Raises:
        UsageError: ``text`` is not a size.
    """
    if not text:
        return _DEFAULT_BYTES
    size = parse_size(text)
    if size is None:
        raise UsageError(
            f"{LIMIT_VARIABLE} {text}",
            "no size",
            f"{SIZES}; 0 for no cache",
            f"set it to a size such as 20GB, or unset it for {_DEFAULT_BYTES // 10**9} GB",
        )
    return size
