"""``hubopt compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubopt.cli.common import Json, out, report_errors

First = Annotated[Path, typer.Argument(metavar="A", help="A bundle.", show_default=False)]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another one.", show_default=False)]


@report_errors
def compare(first: First, second: Second, json: Json = False) -> None:
    """Compare two bundles: sizes, latency beside the layer, verdicts, errors.

    It says what does not compare, such as times of two machines or errors on other samples.
    """
    # Imported only here: no other verb needs it.
    from hubopt.report.comparison import comparison_table
    from hubopt.report.document import document
    from hubopt.verification.compare import compare as run_compare

    found = run_compare(first, second)
    if json:
        print(document("compare", found))
    else:
        out.print(comparison_table(found))
