"""An exporter's options: what there are, and an instance of them from what a user gave."""

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
    """What one option of an exporter is.

    Attributes:
        name: Such as ``opset``.
        type: Such as ``int``, ``bool`` or ``require | auto | off``.
        default: The value where the user gives none.
        unit: Of a number; empty if it has none.
        help: One line.
        least: The smallest number that is accepted; None for any.
        most: The largest.
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
            field.default,  # type: ignore[arg-type]  # the contract asks for one
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
        exporter: Whose options.
        given: Values by the option's name: texts, or values of the option's type.

    Raises:
        UsageError: A name or a value is wrong; every one of them is named.
    """
    options, errors = read_options(exporter, given)
    if errors:
        raise merged(f"options of {exporter.name}", errors)
    return options


def read_options(exporter: Exporter, given: Mapping[str, object]) -> tuple[Any, list[UsageError]]:
    """Return an instance of ``exporter.Options``, or else everything that is in the way."""
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
    """Return the value of an option as the command line takes it."""
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
        "values that the exporter takes together",
        f"see `hubopt targets {exporter.name}`",
    )
