"""Output folders that appear complete or not at all."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hubopt._platform.resources import translate_resource_errors
from hubopt._util.owned_folders import owned_folder
from hubopt._util.plain_paths import plain_path
from hubopt._util.signals import deferred_signals
from hubopt.errors import UsageError

_PREFIX = ".hubopt-"
_REPLACED = "replaced"
_INSIDE = "output"
"""The folder's name until it is complete: short, and without pattern characters."""


@contextmanager
def staging(
    output: Path,
    replaces: Callable[[Path], bool] = lambda output: False,
    way_out: str = "choose another --output, or remove it first",
) -> Iterator[Path]:
    """Yield a folder to fill; it becomes ``output`` in one step, or is removed after an error.

    Folders that killed processes left next to ``output`` are removed first.

    Args:
        output: The folder to make.
        replaces: Says whether an ``output`` that exists may be replaced. It is left alone until
            the new folder is complete.
        way_out: What the error for an ``output`` that exists advises.

    Raises:
        UsageError: ``output`` exists, or its parent folder cannot be written.
    """
    check_name(output)
    is_there = output.exists() or output.is_symlink()
    is_replaced = is_there and not output.is_symlink() and replaces(output)
    if is_there and not is_replaced:
        raise UsageError(
            f"output {output}",
            "it exists already",
            "a path that does not exist yet",
            way_out,
        )
    new_parents = [parent for parent in output.parents if not parent.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_new, new_parents, output)
        with translate_resource_errors(output.parent):
            folder = _make(output, stack)
        yield folder
        if is_replaced and output.exists():
            _replace(folder, output)
        else:
            _move(folder, output)


def _make(output: Path, stack: ExitStack) -> Path:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        parent = stack.enter_context(plain_path(output.parent))
        folder = stack.enter_context(owned_folder(parent, _PREFIX)) / _INSIDE
        folder.mkdir()  # the owned folder around it is private to this user
    except OSError as error:
        raise UsageError(
            f"output {output}",
            f"{error.filename or output.parent} cannot be written: {error.strerror}",
            "a folder that you may write",
            "choose another --output",
        ) from error
    return folder


def check_name(output: Path) -> None:
    """Check that ``output`` is a valid name on its file system.

    Raises:
        UsageError: It is not.
    """
    try:
        output.lstat()
    except ValueError as error:
        found = str(error)  # "embedded null byte"
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            return  # reported when the output is written
        found = str(error.strerror)
    else:
        return
    raise UsageError(
        f"output {str(output)!r}",
        f"no file can have this name: {found}",
        "a path that the file system can hold",
        "choose another --output",
    )


def _remove_new(parents: Sequence[Path], output: Path) -> None:
    if not output.exists():
        for parent in parents:
            with suppress(OSError):  # another process has put something there meanwhile
                parent.rmdir()


def _replace(folder: Path, output: Path) -> None:
    """Exchange the old output for the new one; the folder around both is removed later."""
    old = folder.parent / _REPLACED
    with deferred_signals():
        output.rename(old)
        try:
            _move(folder, output)
        except BaseException:
            old.rename(output)
            raise


def _move(folder: Path, output: Path) -> None:
    try:
        if output.exists():  # rename would silently replace an empty folder
            raise FileExistsError
        folder.rename(output)
    except FileExistsError as error:
        raise _appeared(output) from error
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
            raise
        raise _appeared(output) from error


def _appeared(output: Path) -> UsageError:
    return UsageError(
        f"output {output}",
        "something has appeared there meanwhile",
        "a path that does not exist yet",
        "choose another --output",
    )
