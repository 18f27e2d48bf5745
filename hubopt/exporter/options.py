"""How an exporter declares its options: a frozen dataclass whose fields are made by `option`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HELP, UNIT, LEAST, MOST = "help", "unit", "least", "most"


def option(
    default: Any,
    help: str,  # noqa: A002  # as in argparse
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare one option of an exporter, as a field of its ``Options`` dataclass.

    Its annotation is ``bool``, ``int``, ``float``, ``str`` or a ``Literal`` of strings.

    Args:
        default: The value if the user gives none.
        help: One line for ``hubopt targets EXPORTER``.
        unit: The unit of a number, such as ``bytes``.
        least: The smallest number that is accepted.
        most: The largest number that is accepted.

    >>> @dataclass(frozen=True)
    ... class Options:
    ...     level: int = option(1, "how hard to try", least=0, most=3)
    >>> Options().level
    1
    """
    metadata = {HELP: help, UNIT: unit, LEAST: least, MOST: most}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of an exporter that has none."""
