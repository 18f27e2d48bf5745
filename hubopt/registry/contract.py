"""Check that an exporter and its artifacts follow the contract of `hubopt.exporter`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hubopt.exporter import FP32, Artifact, Exporter, ToleranceClass
from hubopt.exporter.options import HELP, LEAST, MOST, UNIT
from hubopt.registry.option_values import expected_value, parse_value, type_name
from hubopt.spec import ModelSpec

_PLAIN = (str, int, float, bool)


def exporter_problems(exporter: object, name: str) -> list[str]:
    """Return why ``exporter``, registered as ``name``, does not conform; empty if it does."""
    if not isinstance(exporter, Exporter):
        lacking = [
            member
            for member in dir(Exporter)
            if not member.startswith("_") and not hasattr(exporter, member)
        ]
        return [f"{type(exporter).__name__} lacks {', '.join(lacking) or 'members of an exporter'}"]
    problems = []
    if exporter.name != name or not name.isidentifier():
        problems.append(
            f"name is {exporter.name!r}, but it is registered as {name!r}; "
            "both must be the same plain word"
        )
    if exporter.suffix != "" and not exporter.suffix.startswith("."):
        problems.append(f"suffix {exporter.suffix!r} must be empty or start with a dot")
    if not exporter.summary:
        problems.append("summary must be one line for `hubopt targets`")
    return problems + _precision_problems(exporter.precisions) + _options_problems(exporter.Options)


def _precision_problems(precisions: object) -> list[str]:
    if (
        isinstance(precisions, tuple)
        and FP32 in precisions
        and all(isinstance(name, str) and name.isidentifier() for name in precisions)
    ):
        return []
    return [f"precisions is {precisions!r}; it must be a tuple of plain words with {FP32!r}"]


def _options_problems(options: Any) -> list[str]:
    if not (
        isinstance(options, type)
        and is_dataclass(options)
        and getattr(options, "__dataclass_params__").frozen  # noqa: B009  # mypy does not know it
    ):
        return ["Options must be a frozen dataclass; NoOptions if there are none"]
    try:
        hints = get_type_hints(options)
    except Exception as error:  # a third party's annotation can be anything
        return [f"the annotations of Options do not resolve: {type(error).__name__}: {error}"]
    problems = [
        f"option {field.name} {problem}"
        for field in fields(options)
        for problem in [_option_problem(field, hints)]
        if problem
    ]
    if not problems:
        try:
            options()
        except Exception as error:  # a third party's check can raise anything
            problems.append(f"Options() fails: {type(error).__name__}: {error}")
    return problems


def _option_problem(field: Field[Any], hints: Mapping[str, Any]) -> str | None:
    annotation = hints[field.name]
    if not field.metadata.get(HELP) or field.default is MISSING:
        return "has no default or no help; make it with hubopt.exporter.option"
    if type_name(annotation) is None:
        return f"is a {annotation}; it must be bool, int, float, str or a Literal of strings"
    least, most = field.metadata[LEAST], field.metadata[MOST]
    try:
        parse_value(annotation, field.default, least, most)
    except ValueError:
        expected = expected_value(annotation, field.metadata[UNIT], least, most)
        return f"has the default {field.default!r}, which is not {expected}"
    return None


def artifact_problems(artifact: object, name: str, path: Path, spec: ModelSpec) -> list[str]:
    """Return why ``artifact``, requested at ``path``, does not conform; empty if it does."""
    if not isinstance(artifact, Artifact):
        return [f"export returned {type(artifact).__name__}, not an Artifact"]
    problems = []
    if artifact.path != path:
        problems.append(
            f"the artifact says it is at {artifact.path}, but the requested path is {path}"
        )
    if not path.exists():
        problems.append(f"nothing was written at the requested path, {path.name}")
    if artifact.exporter != name:
        problems.append(f"the artifact names exporter {artifact.exporter!r}, not {name!r}")
    if artifact.spec != spec:
        problems.append("the artifact's spec differs from its source's")
    if artifact.tolerance not in get_args(ToleranceClass):
        problems.append(f"unknown tolerance class {artifact.tolerance!r}")
    odd = [key for key, value in artifact.details.items() if type(value) not in _PLAIN]
    if odd:
        problems.append(f"details must be plain strings, numbers and booleans: {', '.join(odd)}")
    return problems
