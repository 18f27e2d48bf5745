"""Sizes and durations as people write them: ``20GB``, ``1.5GiB``, ``90m``."""

from __future__ import annotations

import re

SIZES = "bytes, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB"
DURATIONS = "seconds, or a number with s, m or h"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_size(text: str) -> int | None:
    """Return the size in ``text`` in bytes; None if it is not a size.

    >>> parse_size("20GB"), parse_size("1.5 KiB"), parse_size("much")
    (20000000000, 1536, None)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** _POWERS[(prefix or "").lower()])


def parse_duration(text: str) -> float | None:
    """Return the duration in ``text`` in seconds; None if it is not a duration.

    >>> parse_duration("90m"), parse_duration("30"), parse_duration("soon")
    (5400.0, 30.0, None)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = match.groups()
    return float(number) * _SECONDS[unit.lower()]
