"""``hubopt verify FILE HANDLE``: a file from anywhere against the model that it should equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from hubopt.bundles.results import Accepted, Stage, TargetResult, exit_code
from hubopt.cli.common import out, progress
from hubopt.errors import UsageError
from hubopt.parity import Parity, ToleranceOverrides
from hubopt.report.document import parity_document

_PANEL = "A FILE against HANDLE"
Handle = Annotated[
    str | None,
    typer.Argument(
        metavar="[HANDLE]",
        help="With a FILE from anywhere: the model that it should equal.",
        show_default=False,
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="LAYER=FILE",
        help="The file's name of a tensor of the layer; repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Number of samples; default 8 drawn ones.", rich_help_panel=_PANEL),
]
Data = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="Your own inputs, as for export.", rich_help_panel=_PANEL),
]
Noise = Annotated[
    str,
    typer.Option(
        metavar="auto|full|off",
        help="How far to measure the layer's own noise.",
        rich_help_panel=_PANEL,
    ),
]


def refuse_without_handle(bundle: Path, given: Mapping[str, Any]) -> None:
    """Check that no flag is given that only a file and a handle have a use for.

    Raises:
        UsageError: There is one, or ``bundle`` is a file.
    """
    if bundle.is_file():
        raise UsageError(
            f"bundle {bundle}",
            "it is a file, and no HANDLE is given",
            "a bundle's folder, or a file and the handle of the model that it should equal",
            f"hubopt verify {bundle} HANDLE",
        )
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise UsageError(
            ", ".join(flags),
            "given for a bundle, which has its own model, samples and shapes",
            "these flags with HANDLE only",
            "leave them out, or pass a file and the handle of its model",
        )


def refuse_with_handle(given: Mapping[str, Any]) -> None:
    """Check that no flag is given that only a bundle has a use for.

    Raises:
        UsageError: There is one.
    """
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise UsageError(
            ", ".join(flags),
            "given with HANDLE, for a file that has no stored measurements",
            "this flag with a bundle only",
            "leave it out",
        )


def parse_names(texts: Sequence[str]) -> dict[str, str]:
    """Read ``LAYER=FILE`` pairs.

    Raises:
        UsageError: Something is no pair.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [
        text for text, (ours, _, theirs) in zip(texts, pairs, strict=True) if not (ours and theirs)
    ]
    if wrong:
        raise UsageError(
            f"--name {', '.join(wrong)}",
            "no pair",
            "LAYER=FILE",
            "write --name x=serving_default_x:0",
        )
    return {ours: theirs for ours, _, theirs in pairs}


def verify_file(
    artifact: Path,
    handle: str,
    targets: Sequence[str],
    names: Sequence[str],
    overrides: ToleranceOverrides,
    accepted: Callable[[Sequence[str]], Accepted],
    json: bool,
    raw: bool,
    **how: Any,
) -> int:
    """Compare a file with the layer of ``handle``, report it and return the exit code.

    Args:
        artifact: The file or folder.
        handle: The model.
        targets: The target that runs it, if its suffix does not say so.
        names: ``LAYER=FILE`` pairs.
        overrides: Tolerances that the user set.
        accepted: Returns what counts as success, for the names of the outputs.
        json: Whether to print JSON.
        raw: Whether to add the measurements of every sample to it.
        **how: More arguments for `hubopt.verification.comparison.verify`.
    """
    # Imported only here: verifying a bundle needs none of this.
    from hubopt.verification.comparison import verify

    if len(targets) > 1:
        raise UsageError("--target", ", ".join(targets), "one target for one file", "name one")
    parity = verify(
        artifact,
        handle,
        target=targets[0] if targets else None,
        names=parse_names(names),
        overrides=overrides,
        progress=progress,
        **how,
    )
    code = _exit_code(parity, accepted)
    if json:
        print(parity_document(parity, str(artifact), handle, code, raw))
    else:
        out.print(Text(repr(parity)), soft_wrap=True)
    return code


def _exit_code(parity: Parity, accepted: Callable[[Sequence[str]], Accepted]) -> int:
    stage: Stage | None = "parity" if parity.status == "failed" else None
    result = TargetResult("file", parity.status, "", stage=stage, parity=parity)
    return exit_code((result,), accepted([output.name for output in parity.outputs]))
