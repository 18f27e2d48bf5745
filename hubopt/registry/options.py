"""An exporter's options: describe them, and build an instance from the values a user gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, get_type_hints

from hubopt.errors import UsageError
from hubopt.exporter import Exporter
from hubopt.exporter.options import HELP, LEAST, MOST, UNIT
from hubopt.registry.option_values import (
    expected_value,
    nearest_value,
    parse_value,
    type_name,
)
from hubopt.registry.problems import merged, nearest

_SHOWN = 60
"""How many characters of a wrong value are shown."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """A description of one option of an exporter.

    Attributes:
        name: The name, such as ``opset``.
        type: The type, such as ``int``, ``bool`` or ``require | auto | off``.
        default: The value if the user gives none.
        unit: The unit of a number; empty if it has none.
        help: One line of help.
        least: The smallest number that is accepted; None for any.
        most: The largest number that is accepted; None for any.
    """

    name: str
    type: str
    default: bool | int | float | str
    unit: str
    help: str
    least: float | None
    most: float | None


def describe_options(exporter: Exporter) -> tuple[OptionInfo, ...]:
    """Return the options of ``exporter``, in the order in which it declares them."""
    hints = get_type_hints(exporter.Options)
    options: tuple[Field[Any], ...] = fields(exporter.Options)
    return tuple(
        OptionInfo(
            field.name,
            type_name(hints[field.name]) or str(hints[field.name]),
            field.default,  # type: ignore[arg-type]  # the contract requires one
            field.metadata[UNIT],
            field.metadata[HELP],
            field.metadata[LEAST],
            field.metadata[MOST],
        )
        for field in options
    )


def make_options(exporter: Exporter, given: Mapping[str, object]) -> Any:
    """Return an instance of ``exporter.Options``.

    Args:
        exporter: The exporter that declares the options.
        given: Values by option name: texts, or values of the option's type.

    Raises:
        UsageError: A name or a value is wrong; the error lists all problems.
    """
    options, errors = read_options(exporter, given)
    if errors:
        raise merged(f"options of {exporter.name}", errors)
    return options


def read_options(exporter: Exporter, given: Mapping[str, object]) -> tuple[Any, list[UsageError]]:
    """Return an instance of ``exporter.Options``, or None, and every problem in ``given``."""
    hints = get_type_hints(exporter.Options)
    known = {option.name: option for option in describe_options(exporter)}
    values, errors = {}, []
    for name, value in given.items():
        if name not in known:
            errors.append(_wrong_name(exporter, name, known))
            continue
        option = known[name]
        try:
            values[name] = parse_value(hints[name], value, option.least, option.most)
        except ValueError:
            errors.append(_wrong_value(exporter, option, hints[name], value))
    if errors:
        return None, errors
    try:
        return exporter.Options(**values), []
    except Exception as error:  # the exporter's own check can raise anything
        return None, [_refused(exporter, error)]


def option_text(value: object) -> str:
    """Return the value of an option as the command line accepts it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrong_name(exporter: Exporter, name: str, known: Mapping[str, OptionInfo]) -> UsageError:
    thing = f"option {exporter.name}.{name}"
    found = f"{exporter.name} has no option {name}"
    if not known:
        return UsageError(thing, found, f"none: {exporter.name} has no options", "leave it out")
    near = nearest(name, known)
    listed = f"see `hubopt targets {exporter.name}`"
    return UsageError(
        thing,
        found,
        "one of: " + ", ".join(f"{option.name} ({option.type})" for option in known.values()),
        listed if near is None else f"did you mean {exporter.name}.{near}? {listed}",
    )


def _wrong_value(
    exporter: Exporter, option: OptionInfo, annotation: Any, value: object
) -> UsageError:
    name = f"{exporter.name}.{option.name}"
    near = nearest_value(annotation, value, option.least, option.most)
    shown = repr(value)
    return UsageError(
        f"option {name}",
        f"the value is {shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}...'}",
        expected_value(annotation, option.unit, option.least, option.most),
        f"the nearest is {name}={near}"
        if near
        else f"the default is {option_text(option.default)}",
    )


def _refused(exporter: Exporter, error: Exception) -> UsageError:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return UsageError(
        f"options of {exporter.name}",
        f"{kind}{error}",
        "a combination of values that the exporter accepts",
        f"see `hubopt targets {exporter.name}`",
    )
