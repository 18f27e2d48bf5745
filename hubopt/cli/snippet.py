"""``hubopt snippet``."""

from __future__ import annotations

from typing import Annotated

import typer

from hubopt.bundles.bundle import read_bundle
from hubopt.cli.common import report_errors
from hubopt.cli.verify import Bundle
from hubopt.registry.targets import canonical
from hubopt.verification.snippet import LANGUAGES, Language, make_snippet


@report_errors
def snippet(
    bundle: Bundle,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="One of the bundle's targets.")],
    lang: Annotated[
        Language, typer.Option("--lang", help=f"The language: {', '.join(LANGUAGES)}.")
    ] = "python",
) -> None:
    """Print a program that runs an artifact, with its real input names, shapes and dtypes."""
    print(make_snippet(read_bundle(bundle), canonical(target), lang))
