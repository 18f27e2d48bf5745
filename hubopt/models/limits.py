"""How large and how slow a model may be: bounds against files and servers that never end."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hubopt._util.sizes import DURATIONS, SIZES, parse_duration, parse_size
from hubopt.errors import LimitError, UsageError

RATE_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for what is fetched and unpacked; generous beside the largest models there are.

    Attributes:
        download_bytes: The most that one model may take to download.
        unpacked_bytes: The most that an archive, a Keras file or a compressed body may unpack to,
            by what it declares and by what comes out of it.
        download_s: The most time for all attempts at one download, redirects included.
        min_rate: The fewest bytes a second, on average over `rate_window_s`; 0 for any.
        rate_window_s: Over how many seconds the rate is measured.
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
        """Return the limits that a user wrote, the defaults where nothing is given.

        Raises:
            UsageError: Something is no size or no duration; all of it is named.
        """
        default = cls()
        wrong: list[str] = []

        def size(flag: str, text: str | None, otherwise: int) -> int:
            found = otherwise if text is None else parse_size(text)
            if found is None:
                wrong.append(f"{flag} {text}: no size, which is {SIZES}")
            return otherwise if found is None else found

        def duration(flag: str, text: str | None, otherwise: float) -> float:
            found = otherwise if text is None else parse_duration(text)
            if found is None:
                wrong.append(f"{flag} {text}: no duration, which is {DURATIONS}")
            return otherwise if found is None else found

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
"""What holds where nobody says otherwise."""
UNLIMITED = Limits(sys.maxsize, sys.maxsize, float("inf"), 0)
"""For what only looks, and is asked again with bounds before anything is unpacked."""


def too_large_to_unpack(thing: str, found: str, limits: Limits) -> LimitError:
    """Return the error for what unpacks to more than the limits allow.

    Args:
        thing: The handle or the file.
        found: What it unpacks to, as a predicate.
        limits: The bounds.
    """
    return LimitError(
        thing,
        found,
        f"at most {limits.unpacked_bytes:,} bytes unpacked",
        "raise the bound if the model is meant to be that large: --max-unpacked SIZE "
        "(Limits(unpacked_bytes=...))",
    )
