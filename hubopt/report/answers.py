"""The outputs of a run, as a table and as values for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table

from hubopt._util.escaping import printable
from hubopt.report.documents import RunOutputs, TensorValues
from hubopt.spec import format_shape
from hubopt.verification.answer_files import as_plain
from hubopt.verification.running import Answers

_SAMPLES_SHOWN = 8
_VALUES_SHOWN = 4


def answers_table(answers: Answers) -> RenderableType:
    """One row per output of the first samples: dtype, shape, range, mean and the first values."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    several = len(answers.samples) > 1
    for heading in (*(["sample"] if several else []), "output", "dtype", "shape"):
        table.add_column(heading, no_wrap=heading != "output")
    for heading in ("min", "max", "mean"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("first values")
    for at, sample in enumerate(answers.samples[:_SAMPLES_SHOWN]):
        for name, array in sample.items():
            table.add_row(*([str(at)] if several else []), printable(name), *_cells(array))
    more = len(answers.samples) - _SAMPLES_SHOWN
    table.caption = f"and {more} more samples; --output writes all" if more > 0 else None
    return table


def answers_values(answers: Answers, output: str | None) -> RunOutputs:
    """Return the outputs for JSON; without their values if a file has them.

    Args:
        answers: The outputs.
        output: The file that the values were written to, if any.
    """
    return RunOutputs(
        artifact=str(answers.artifact),
        target=answers.target,
        device=answers.device,
        output=output,
        samples=tuple(
            {
                name: TensorValues(_dtype(array), array.shape, None if output else _as_list(array))
                for name, array in sample.items()
            }
            for sample in answers.samples
        ),
    )


def _dtype(array: NDArray[Any]) -> str:
    return "string" if array.dtype.kind in "OSU" else array.dtype.name


def _as_list(array: NDArray[Any]) -> Any:
    if _dtype(array) == "string":
        flat = [_text(value) for value in array.ravel().tolist()]
        return np.array(flat, dtype=object).reshape(array.shape).tolist()
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1).tolist()
    return as_plain(array).tolist()


def _cells(array: NDArray[Any]) -> list[str]:
    head = [_dtype(array), format_shape(array.shape)]
    first = array.ravel()[:_VALUES_SHOWN].tolist()
    more = ", ..." if array.size > _VALUES_SHOWN else ""
    if _dtype(array) == "string":
        return [*head, "", "", "", printable(", ".join(map(_text, first)) + more)]
    if not array.size:
        return [*head, "-", "-", "-", "empty"]
    shown = ", ".join(_number(value) for value in first) + more
    if array.dtype.kind == "c":
        return [*head, "", "", "", shown]
    plain = as_plain(array)
    figures = (plain.min(), plain.max(), plain.mean(dtype=np.float64))
    return [*head, *(_number(value.item()) for value in figures), shown]


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float | complex) else str(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
