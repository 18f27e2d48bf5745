"""``hubopt schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from hubopt._util.serialization import to_json
from hubopt.cli.common import report_errors
from hubopt.errors import UsageError

Verb = Annotated[
    str | None,
    typer.Argument(metavar="VERB", help="Only what this verb prints.", show_default=False),
]


@report_errors
def schema(verb: Verb = None) -> None:
    """Print the JSON Schema of what --json prints, of one verb or of all."""
    # Imported only here: it describes the values of every verb.
    from hubopt.report.document import SCHEMA_VERSION
    from hubopt.report.json_schema import documents, verb_schema

    verbs = list(documents())
    if verb is None:
        listing = {name: verb_schema(name) for name in verbs}
        print(to_json({"schema_version": SCHEMA_VERSION, "verbs": listing}))
        return
    if verb not in verbs:
        raise UsageError(
            f"verb {verb}",
            "it prints no JSON, or there is no such verb",
            f"one of: {', '.join(verbs)}",
            "name one of these, or none for all",
        )
    print(to_json(verb_schema(verb)))
