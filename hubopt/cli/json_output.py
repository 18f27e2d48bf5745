"""JSON on standard output: ``--raw``, and usage errors, which end a command before its verb."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hubopt.errors import UsageError
from hubopt.report.document import error_document

Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="With --json: the time of every call, every sample's figures.",
        rich_help_panel="Results",
    ),
]
_JSON = "hubopt.json"


class JsonErrorGroup(TyperGroup):
    """A group of commands that also prints usage errors on standard output if ``--json`` is given.

    Standard error has the parser's own words in any case.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the verb; note whether the verb is to print JSON."""
        ctx.meta[_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Typer's parser is click, or a copy of it: a usage error has this method.
            message = getattr(error, "format_message", None)
            if message is not None and ctx.meta.get(_JSON):
                verb = _verb(getattr(error, "ctx", None))
                command = f"hubopt {verb}".strip()
                expected = "a verb with its arguments and options"
                found = UsageError(command, str(message()), expected, f"see `{command} --help`")
                print(error_document(verb, found))
            raise


def _verb(context: Any) -> str:
    """Return the words of a command behind the program's own name."""
    words: list[str] = []
    while context is not None and context.parent is not None:
        words.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(words)
