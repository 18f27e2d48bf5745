"""Find the installed exporters by entry point; listing their names imports none of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version

from hubopt._util.import_path import installed_only
from hubopt.errors import NotRunnableHereError, RuntimeMissingError, UsageError
from hubopt.exporter import PROGRAM, Exporter, Requirement
from hubopt.registry.contract import exporter_problems
from hubopt.registry.problems import nearest

GROUP = "hubopt.exporters"
_LAYER = tuple(
    Requirement((module,), "pip install tensorflow tf_keras tensorflow-hub 'setuptools<81'")
    for module in ("tensorflow", "tensorflow_hub", "tf_keras")
)


def names() -> tuple[str, ...]:
    """Return the names of all targets, in alphabetical order."""
    return tuple(sorted(_entry_points()))


def get(name: str) -> Exporter:
    """Return the exporter of one target.

    Raises:
        UsageError: No exporter has this name, or the one that has it is broken.
    """
    return _get(name, _entry_points())


def _get(name: str, found: Mapping[str, EntryPoint]) -> Exporter:
    if name not in found:
        raise UsageError(
            f"target {name}",
            "no exporter has this name",
            f"one of: {', '.join(sorted(found)) or 'none is installed'}",
            f"{_suggestion(name, found)}see `hubopt targets`; a package adds its own through the "
            f"entry point group {GROUP}",
        )
    point = found[name]
    try:
        with installed_only():
            exporter = point.load()()
    except Exception as error:  # a third party's import can raise anything
        raise UsageError(
            f"target {name}",
            f"{point.value} does not import: {type(error).__name__}: {error}",
            "an exporter class that takes no arguments",
            "update or remove the package that registers it",
        ) from error
    problems = exporter_problems(exporter, name)
    if problems:
        raise UsageError(
            f"target {name}",
            f"{point.value} does not conform: {'; '.join(problems)}",
            "a class that follows hubopt.exporter.Exporter",
            "check it with hubopt.testing.assert_conforms",
        )
    conforming: Exporter = exporter
    return conforming


def _suggestion(name: str, names: Iterable[str]) -> str:
    near = nearest(name, names)
    return f"did you mean {near}? " if near else ""


def with_sources(targets: Iterable[str]) -> tuple[Exporter, ...]:
    """Return the exporters of ``targets`` and of their sources, sources first."""
    found = _entry_points()
    ordered: dict[str, Exporter] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        exporter = _get(name, found)
        if exporter.source != PROGRAM:
            if exporter.source in path:
                raise UsageError(
                    f"target {name}",
                    f"its sources form a cycle: {' -> '.join((*path, exporter.source))}",
                    f"a source that leads to {PROGRAM!r}",
                    "correct the exporter",
                )
            add(exporter.source, (*path, exporter.source))
        ordered[name] = exporter

    for target in targets:
        add(target, (target,))
    return tuple(ordered.values())


def missing(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return the requirements of which no module is installed; nothing is imported."""
    return tuple(
        requirement
        for requirement in requirements
        if not any(is_installed(module) for module in requirement.modules)
    )


def versions(requirements: Iterable[Requirement]) -> list[str]:
    """Return ``distribution version`` for each required module that is installed."""
    distributions = packages_distributions()
    modules = [
        module
        for requirement in requirements
        for module in requirement.modules
        if is_installed(module)
    ]
    found = {
        f"{name} {version(name)}"
        for module in modules
        for name in distributions.get(module.partition(".")[0], ())
        if "." not in module or name.replace("-", ".").startswith(module)
    }
    return sorted(found)


def is_installed(module: str) -> bool:
    """Return whether ``module`` could be imported."""
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def require(exporters: Iterable[Exporter]) -> None:
    """Check that every package that ``exporters`` build with is installed.

    Raises:
        RuntimeMissingError: A package is missing; all of them are named.
    """
    _require({f"target {exporter.name}": exporter.builds_with for exporter in exporters})


def require_runtime(exporter: Exporter) -> None:
    """Check that every package that runs an artifact of ``exporter`` is installed.

    Raises:
        NotRunnableHereError: A package is missing.
    """
    lacking = missing(exporter.runs_with)
    if lacking:
        raise NotRunnableHereError(
            f"{exporter.name} artifact",
            f"no {' or '.join(lacking[0].modules)} is installed here",
            "the runtime of this target",
            lacking[0].install,
        )


def require_layer() -> None:
    """Check that every package that loads a model as a layer is installed.

    Raises:
        RuntimeMissingError: A package is missing; all of them are named.
    """
    _require({"a layer": _LAYER})


def _require(needs: Mapping[str, Iterable[Requirement]]) -> None:
    lacking = {who: absent for who, needed in needs.items() if (absent := missing(needed))}
    if lacking:
        every = [requirement for absent in lacking.values() for requirement in absent]
        raise RuntimeMissingError(
            "packages",
            "; ".join(
                f"{who} needs "
                f"{' and '.join(' or '.join(requirement.modules) for requirement in absent)}"
                for who, absent in lacking.items()
            ),
            "the packages installed",
            "; ".join(dict.fromkeys(requirement.install for requirement in every)),
        )


def _entry_points() -> dict[str, EntryPoint]:
    with installed_only():
        return dict(_scan(tuple(sys.path), entry_points))


@cache
def _scan(
    path: tuple[str, ...], find: Callable[..., Iterable[EntryPoint]]
) -> dict[str, EntryPoint]:
    """Scan every distribution on ``path`` once; a scan takes milliseconds."""
    return {point.name: point for point in find(group=GROUP)}
