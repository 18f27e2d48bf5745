"""Build targets from a user's request: names with precisions, and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hubopt import registry
from hubopt.errors import UsageError
from hubopt.exporter import FP32, PROGRAM, Exporter, NoOptions, Target
from hubopt.registry.options import describe_options, read_options
from hubopt.registry.problems import merged, nearest

ALIASES: Mapping[str, str] = {
    "tensorrt": "trt",
    "tf": "savedmodel",
    "tensorflow": "savedmodel",
    "saved_model": "savedmodel",
    "lite": "tflite",
    "litert": "tflite",
}
"""Other names of hubopt's own targets. An exporter that has one of these names keeps it."""


def canonical(name: str) -> str:
    """Return the name of the exporter that ``name`` means, with its precision if it has one.

    >>> canonical("lite"), canonical("tensorrt:fp32"), canonical("onnx")
    ('tflite', 'trt:fp32', 'onnx')
    """
    exporter, colon, precision = name.partition(":")
    if exporter not in ALIASES or exporter in registry.names():
        return name
    return f"{ALIASES[exporter]}{colon}{precision}"


def make_targets(
    names: Sequence[str | Target], options: Mapping[str, object] | None = None
) -> tuple[Target, ...]:
    """Return the targets that ``names`` request and their sources, sources first.

    A source is exported in float32. A target that is requested twice is returned once.

    Args:
        names: ``EXPORTER`` or ``EXPORTER:PRECISION``, or targets. A target without options of
            its own gets ``options``.
        options: Values by ``EXPORTER.OPTION``, as `hubopt.registry.options.make_options` accepts
            them, for every target of that exporter.

    Raises:
        UsageError: Names, precisions or options are wrong; the error lists all problems.
    """
    reading = _Reading()
    for name in names:
        reading.ask(name)
    made = reading.options(options or {})
    targets: dict[str, Target] = {}
    for asked in reading.asked:
        reading.add(targets, asked, made)
    if reading.errors:
        raise merged("targets", reading.errors)
    return reading.with_sources(targets, made)


def parse_options(words: Iterable[str]) -> dict[str, str]:
    """Return the options of a command line.

    >>> parse_options(["onnx.opset=17"])
    {'onnx.opset': '17'}

    Raises:
        UsageError: A word is not ``EXPORTER.OPTION=VALUE``, or one option has two values.
    """
    values: dict[str, str] = {}
    errors = []
    for word in words:
        key, sign, value = word.partition("=")
        if not key or not sign:
            found = "it has no =" if not sign else "it has no name before the ="
            way_out = f"write {key}=VALUE" if key else "see `hubopt targets TARGET` for the names"
            errors.append(UsageError(f"option {word}", found, _FORM, way_out))
        elif values.setdefault(key, value) != value:
            found = f"it is given twice: {values[key]} and {value}"
            errors.append(UsageError(f"option {key}", found, "one value", "leave one out"))
    if errors:
        raise merged("options", errors)
    return values


_FORM = "EXPORTER.OPTION=VALUE, such as onnx.opset=18"


@dataclass(slots=True)
class _Reading:
    """Collects targets and problems.

    Attributes:
        exporters: The exporters of the targets and of their sources, by name.
        asked: The requested targets; those requested by name have no options yet.
        unusable: Names of missing or broken exporters.
        errors: The problems.
    """

    exporters: dict[str, Exporter] = field(default_factory=dict)
    asked: list[Target] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)
    errors: list[UsageError] = field(default_factory=list)

    def ask(self, name: str | Target) -> None:
        """Add the target ``name``; record an error if there is no such target."""
        if isinstance(name, Target):
            target = name
        else:
            exporter, colon, precision = canonical(name).partition(":")
            target = Target(exporter, precision if colon else FP32)
        try:
            chain = registry.with_sources([target.exporter])
        except UsageError as error:
            self.unusable.add(target.exporter)
            self.errors.append(error)
            return
        self.exporters |= {exporter.name: exporter for exporter in chain}
        precisions = self.exporters[target.exporter].precisions
        if target.precision in precisions:
            self.asked.append(target)
            return
        near = nearest(target.precision, precisions) or FP32
        self.errors.append(
            UsageError(
                f"target {target.exporter}:{target.precision}",
                f"{target.exporter} has no precision {target.precision!r}",
                f"one of: {', '.join(precisions)}",
                f"did you mean {target.exporter}:{near}?",
            )
        )

    def options(self, given: Mapping[str, object]) -> dict[str, Any]:
        """Return the options of every exporter: the values in ``given``, else its defaults."""
        values: dict[str, dict[str, object]] = {name: {} for name in self.exporters}
        for key, value in given.items():
            exporter, dot, option = key.partition(".")
            exporter = canonical(exporter)
            if dot and exporter in values:
                values[exporter][option] = value
            elif exporter not in self.unusable:
                self.errors.append(self._misplaced(key, exporter, option if dot else None))
        owners = {target.exporter for target in self.asked if type(target.options) is not NoOptions}
        for name in sorted(owners):
            if values[name]:
                self.errors.append(_given_twice(name, values[name]))
        made = {}
        for name, known in self.exporters.items():
            made[name], errors = read_options(known, values[name])
            self.errors += errors
        return made

    def add(self, targets: dict[str, Target], asked: Target, made: Mapping[str, Any]) -> None:
        """Add ``asked`` with its options to ``targets``, keyed by its id."""
        exporter = self.exporters[asked.exporter]
        if type(asked.options) is NoOptions:
            target = Target(asked.exporter, asked.precision, made[asked.exporter])
        elif isinstance(asked.options, exporter.Options):
            target = asked
            own = asdict(asked.options)
            self.errors += read_options(exporter, own)[1]
        else:
            self.errors.append(_wrong_options(asked, exporter))
            return
        if targets.setdefault(target.id, target) != target:
            found = f"it is requested twice, with {targets[target.id].options} and {target.options}"
            expected = "one target for an exporter and a precision"
            way_out = "leave one out, or export twice"
            self.errors.append(UsageError(f"target {target.id}", found, expected, way_out))

    def with_sources(
        self, targets: Mapping[str, Target], made: Mapping[str, Any]
    ) -> tuple[Target, ...]:
        """Return ``targets`` and their sources, sources first."""
        ordered: dict[str, Target] = {}

        def add(target: Target) -> None:
            source = self.exporters[target.exporter].source
            if source != PROGRAM:
                add(targets.get(source) or Target(source, FP32, made[source]))
            ordered.setdefault(target.id, target)

        for target in targets.values():
            add(target)
        return tuple(ordered.values())

    def _misplaced(self, key: str, exporter: str, option: str | None) -> UsageError:
        """Return the error for the option ``key``, which belongs to none of the targets."""
        installed = registry.names()
        if option is None:
            owners = [
                name
                for name, known in self.exporters.items()
                if key in {info.name for info in describe_options(known)}
            ]
            found, expected = "it names no exporter", "EXPORTER.OPTION, such as onnx.opset"
            way_out = f"write {owners[0]}.{key}" if owners else "see `hubopt targets TARGET`"
        elif exporter in installed:
            found = f"{exporter} is not among the targets, and no target starts from it"
            expected = f"an option of: {', '.join(self.exporters) or 'a target'}"
            way_out = f"add the target {exporter}, or leave the option out"
        else:
            near = nearest(exporter, installed)
            found = f"no exporter has the name {exporter!r}"
            expected = f"one of: {', '.join(installed)}"
            way_out = f"did you mean {near}.{option}?" if near else "see `hubopt targets`"
        return UsageError(f"option {key}", found, expected, way_out)


def _given_twice(exporter: str, values: Mapping[str, object]) -> UsageError:
    keys = ", ".join(f"{exporter}.{name}" for name in values)
    return UsageError(
        f"option {keys}",
        f"a target of {exporter} has options of its own",
        "options in one place",
        "put them all into the target",
    )


def _wrong_options(target: Target, exporter: Exporter) -> UsageError:
    return UsageError(
        f"target {target.id}",
        f"its options are {target.options!r}",
        f"an instance of {exporter.Options.__qualname__}, the options of {target.exporter}",
        "pass its own options",
    )
