"""``hubopt tolerances``."""

from __future__ import annotations

from hubopt.cli.common import Json, out, report_errors
from hubopt.report.document import tolerances_document
from hubopt.report.terminal import tolerances_table


@report_errors
def tolerances(json: Json = False) -> None:
    """Show how far an artifact may deviate from the layer, by the arithmetic that it uses."""
    if json:
        print(tolerances_document())
    else:
        out.print(tolerances_table())
