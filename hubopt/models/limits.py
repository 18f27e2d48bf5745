"""Limits on the size of a model and the time to fetch it, against endless files and servers."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hubopt._util.sizes import DURATIONS, SIZES, parse_duration, parse_size
from hubopt.errors import LimitError, UsageError

RATE_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for fetching and unpacking; the defaults exceed the largest existing models.

    Attributes:
        download_bytes: The largest download of one model.
        unpacked_bytes: The largest size that an archive, a Keras file or a compressed body may
            unpack to, by its declared sizes and by its actual contents.
        download_s: The longest time for all attempts at one download, including redirects.
        min_rate: The lowest rate in bytes per second, averaged over `rate_window_s`; 0 for any.
        rate_window_s: The number of seconds over which the rate is measured.
    """

    download_bytes: int = 20 * 10**9
    unpacked_bytes: int = 20 * 10**9
    download_s: float = 4 * 3600.0
    min_rate: int = 1000
    rate_window_s: float = RATE_WINDOW_S

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={value}"
            for name, value in (
                ("download_bytes", self.download_bytes),
                ("unpacked_bytes", self.unpacked_bytes),
                ("download_s", self.download_s),
                ("rate_window_s", self.rate_window_s),
            )
            if not value > 0
        ]
        if not self.min_rate >= 0:
            wrong.append(f"min_rate={self.min_rate}")
        if wrong:
            raise UsageError(
                "limits",
                ", ".join(wrong),
                "positive numbers; min_rate may be 0",
                "raise them, or leave them out",
            )

    @classmethod
    def parse(
        cls,
        max_download: str | None = None,
        max_unpacked: str | None = None,
        max_time: str | None = None,
        min_rate: str | None = None,
    ) -> Limits:
        """Return the limits that a user wrote, with defaults for those that are not given.

        Raises:
            UsageError: Values are not sizes or durations; the error names all of them.
        """
        default = cls()
        wrong: list[str] = []

        def size(flag: str, text: str | None, otherwise: int) -> int:
            parsed = otherwise if text is None else parse_size(text)
            if parsed is None:
                wrong.append(f"{flag} {text}: not a size, which is {SIZES}")
            return otherwise if parsed is None else parsed

        def duration(flag: str, text: str | None, otherwise: float) -> float:
            parsed = otherwise if text is None else parse_duration(text)
            if parsed is None:
                wrong.append(f"{flag} {text}: not a duration, which is {DURATIONS}")
            return otherwise if parsed is None else parsed

        values = (
            size("--max-download", max_download, default.download_bytes),
            size("--max-unpacked", max_unpacked, default.unpacked_bytes),
            duration("--max-time", max_time, default.download_s),
            size("--min-rate", min_rate, default.min_rate),
        )
        if wrong:
            raise UsageError(
                "limits", "; ".join(wrong), "sizes such as 20GB, times such as 2h", "correct them"
            )
        return cls(*values)


DEFAULT_LIMITS = Limits()
"""The limits that hold by default."""
UNLIMITED = Limits(sys.maxsize, sys.maxsize, float("inf"), 0)
"""For code that only inspects a file; the limits are checked later, before it is unpacked."""


def too_large_to_unpack(thing: str, found: str, limits: Limits) -> LimitError:
    """Return the error for a handle or file that unpacks to more than the limits allow.

    Args:
        thing: The handle or the file.
        found: A predicate with its unpacked size.
        limits: The limits.
    """
    return LimitError(
        thing,
        found,
        f"at most {limits.unpacked_bytes:,} bytes unpacked",
        "raise the bound if the model is meant to be that large: --max-unpacked SIZE "
        "(Limits(unpacked_bytes=...))",
    )
