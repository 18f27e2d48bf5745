"""Take advice out of an error and follow it, as a user who pastes it does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

from hubopt.hints import Hints

_ADVICE = re.compile(r"(--(?:input-shape|output-shape|dtype|batch|dim)) ('[^']*'|[^\s;,]+)")
_LISTS = {
    "--input-shape": "input_shapes",
    "--output-shape": "output_shapes",
    "--dtype": "dtypes",
    "--dim": "dims",
}


def advice(texts: Iterable[str]) -> list[list[str]]:
    """Return the arguments that the texts suggest, those after "say" alone."""
    return [
        shlex.split(" ".join(found))
        for text in texts
        for found in _ADVICE.findall(text.partition("say ")[2])
    ]


def pasted(hints: dict[str, Any], arguments: Iterable[str]) -> dict[str, Any]:
    """Return the arguments of `Hints.parse` with one more option of the command line.

    It replaces what was given for the same tensor, or without a name.
    """
    option, value = arguments
    if option == "--batch":
        return {**hints, "batch": int(value)}
    name = value.rpartition("=")[0]
    before = [
        text for text in hints.get(_LISTS[option], []) if text.rpartition("=")[0] not in (name, "")
    ]
    return {**hints, _LISTS[option]: [*before, value]}


def parse(hints: dict[str, Any]) -> Hints:
    """Return the hints."""
    return Hints.parse(**hints)
