"""Where the store of stage results is and how large it may be, as the environment says."""

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
    """Return the store; nothing is written yet.

    Raises:
        UsageError: ``HUBOPT_CACHE_MAX_BYTES`` is no size.
    """
    import platformdirs

    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("hubopt")) / "stages"
    return StageStore(folder.expanduser().absolute(), read_limit(os.environ.get(LIMIT_VARIABLE)))


def read_limit(text: str | None) -> int:
    """Return the bytes that ``text`` means, such as ``20GB``, ``1.5GiB`` or a plain number.

    Args:
        text: What the user set; 10 GB if that is None or empty.

    Raises:
        UsageError: It is no size.
    """
    if not text:
        return _DEFAULT_BYTES
    size = parse_size(text)
    if size is None:
        raise UsageError(
            f"{LIMIT_VARIABLE} {text}",
            "no size",
            f"{SIZES}; 0 for no cache",
            f"set it to such as 20GB, or unset it for {_DEFAULT_BYTES // 10**9} GB",
        )
    return size
