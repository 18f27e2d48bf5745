"""Errors that a person can act on.

Each error says four things: the *thing* it is about, what was *found*, what was
*expected* and the *way out*. Errors are pickled to pass between processes, so all
fields are positional arguments of the exception.
"""

from __future__ import annotations

from typing import ClassVar

from hubopt._util.escaping import printable, printable_lines

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_UNVERIFIED = 3
EXIT_PARITY = 4
EXIT_EXPORT = 5
EXIT_VACUOUS = 6


class HuboptError(Exception):
    """Base of every error that hubopt raises on purpose.

    Attributes:
        thing: What the error is about: a handle, an input, a target, a file.
        found: What was found.
        expected: What should have been found.
        way_out: What the user can do about it.
        exit_code: The exit code of the command line for this error.
    """

    exit_code: ClassVar[int] = EXIT_USAGE

    def __init__(self, thing: str, found: str, expected: str, way_out: str) -> None:
        super().__init__(thing, found, expected, way_out)
        # The texts quote models, which may contain anything, and are printed on a terminal.
        self.thing = printable(thing)
        self.found = printable_lines(found)
        self.expected = printable(expected)
        self.way_out = printable(way_out)

    def __str__(self) -> str:
        return (
            f"{self.thing}: {self.found}\n  expected: {self.expected}\n  way out:  {self.way_out}"
        )


def _listing(problems: tuple[str, ...]) -> str:
    """Return one line per problem, whatever characters the names in it contain."""
    return "".join(f"\n  - {printable(problem)}" for problem in problems)


class UsageError(HuboptError):
    """An invalid argument: an unknown target, an existing output folder."""


class HandleError(HuboptError, ValueError):
    """A handle that leads to nothing, or to something that is not a model.

    It is a ValueError too, because tensorflow_hub raises one.
    """


class NoSuchHandleError(HandleError, OSError):
    """A path that does not exist; an OSError too, because tensorflow_hub raises one."""

    def __init__(self, thing: str, found: str, expected: str, way_out: str) -> None:
        super().__init__(thing, found, expected, way_out)
        self.args = (thing, found, expected, way_out)  # OSError keeps the first two


class LimitError(HandleError):
    """A model that is larger, or arrives more slowly, than `hubopt.models.limits` allows."""


class PinError(HandleError):
    """A model that differs from the pinned one."""


class LoadError(HuboptError, ValueError):
    """A model that exists but cannot be loaded as a layer; a ValueError, like `HandleError`."""


class UnsafeModelError(LoadError):
    """A model that could do more than compute, and was therefore not loaded.

    Attributes:
        problems: One line for each operation: its count, its place and what it can do.
    """

    def __init__(self, thing: str, problems: tuple[str, ...], expected: str, way_out: str) -> None:
        listing = _listing(problems)
        super().__init__(thing, f"it can do more than compute{listing}", expected, way_out)
        self.args = (thing, problems, expected, way_out)
        self.problems = problems


class SpecError(HuboptError):
    """Input or output specs that conflict or stay unresolved; the error lists all of them.

    Attributes:
        problems: One sentence for each conflict or unresolved dimension.
    """

    def __init__(self, thing: str, problems: tuple[str, ...], expected: str, way_out: str) -> None:
        listing = _listing(problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__(thing, f"{count}{listing}", expected, way_out)
        self.args = (thing, problems, expected, way_out)
        self.problems = problems


class TraceError(HuboptError):
    """A layer that cannot be traced into a program."""

    exit_code = EXIT_EXPORT


class UncompilableError(TraceError):
    """A program with operations that XLA cannot compile.

    Attributes:
        ops: The TensorFlow operations that have no XLA kernel here.
    """

    def __init__(self, thing: str, ops: tuple[str, ...], expected: str, way_out: str) -> None:
        super().__init__(thing, f"XLA cannot compile {', '.join(ops)}", expected, way_out)
        self.args = (thing, ops, expected, way_out)
        self.ops = ops


class ExportError(HuboptError):
    """A conversion that did not produce a loadable artifact."""

    exit_code = EXIT_EXPORT


class NothingExportedError(HuboptError):
    """An export in which no target produced an artifact that may be kept.

    Attributes:
        results: The result of each target: `hubopt.bundles.results.TargetResult` values.
    """

    def __init__(
        self,
        thing: str,
        found: str,
        expected: str,
        way_out: str,
        results: tuple[object, ...],
        exit_code: int,
    ) -> None:
        super().__init__(thing, found, expected, way_out)
        self.args = (thing, found, expected, way_out, results, exit_code)
        self.results = results
        self.exit_code = exit_code  # type: ignore[misc]  # the worst target's, as with a bundle


class RuntimeMissingError(HuboptError):
    """A target whose packages are not installed."""


class NotRunnableHereError(HuboptError):
    """An artifact that was built but that this machine cannot run."""

    exit_code = EXIT_UNVERIFIED


class ResourceError(HuboptError):
    """A machine that ran out of disk, memory, files or processes, or that refuses to write."""

    exit_code = EXIT_EXPORT


class WorkerCrashError(HuboptError):
    """A child process that died: native crash, out of memory, killed."""

    exit_code = EXIT_EXPORT


class BundleError(HuboptError):
    """A bundle that is missing, incomplete or changed since it was written."""
