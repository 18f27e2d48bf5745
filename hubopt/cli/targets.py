"""``hubopt targets``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from hubopt import registry
from hubopt.cli.common import Json, out, report_errors
from hubopt.errors import UsageError
from hubopt.exporter import PROGRAM, Exporter
from hubopt.registry.option_values import bounds_text
from hubopt.registry.options import OptionInfo, describe_options, option_text
from hubopt.registry.targets import canonical
from hubopt.report.document import document
from hubopt.report.documents import TargetInfo, Targets
from hubopt.report.listing import Listing

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET", help="Show this target's precisions and options.", show_default=False
    ),
]


@report_errors
def targets(target: Target = None, json: Json = False) -> None:
    """List the installed exporters and the packages that are missing to build or run artifacts.

    With a TARGET, list its precisions and its options, for `hubopt export -O TARGET.OPTION=VALUE`.
    """
    if target is not None:
        _show(registry.get(canonical(target)), json)
        return
    rows = [_describe(name) for name in registry.names()]
    if json:
        _print_json(rows)
        return
    headings = ("target", "builds", "runs", "from", "what it is")
    table = [
        (
            row["target"],
            "yes" if row["builds"] else "no",
            "yes" if row["runs"] else "no",
            "model" if row["source"] == PROGRAM else row["source"],
            row["summary"],
        )
        for row in rows
    ]
    out.print(Listing(headings, table), "")
    for row in rows:
        facts = {
            "": row["machine_problem"],
            "found ": ", ".join(row["found"]),
            "missing: ": row["install"],
        }
        for heading, fact in facts.items():
            if fact:
                out.print(Text(f"{row['target']}: {heading}{fact}"))


def _show(exporter: Exporter, json: bool) -> None:
    """Print one exporter's precisions and options."""
    if json:
        _print_json([_describe(exporter.name)])
        return
    out.print(f"{exporter.name}: {exporter.summary}")
    out.print(f"precisions: {', '.join(exporter.precisions)}")
    options = describe_options(exporter)
    if not options:
        out.print("no options")
        return
    rows = [
        (
            f"{exporter.name}.{option.name}",
            ", ".join(filter(None, (option.type, bounds_text(option.least, option.most)))),
            option_text(option.default) or "-",
            option.unit or "-",
            option.help,
        )
        for option in options
    ]
    out.print(Listing(("option", "type", "default", "unit", "what it does"), rows))


def _print_json(rows: Sequence[dict[str, Any]]) -> None:
    print(document("targets", Targets({row["target"]: TargetInfo(**row) for row in rows})))


def _describe(name: str) -> dict[str, Any]:
    try:
        exporter = registry.get(name)
        chain = registry.with_sources([name])
    except UsageError as error:  # one broken exporter must not hide the others
        return {
            "target": name,
            "builds": False,
            "runs": False,
            "machine_problem": None,
            "source": "?",
            "summary": error.found,
            "precisions": (),
            "options": {},
            "found": (),
            "install": error.way_out,
        }
    to_build = registry.missing(needed for maker in chain for needed in maker.builds_with)
    to_run = registry.missing(exporter.runs_with)
    problem = exporter.machine_problem() if not to_run else None
    return {
        "target": name,
        "builds": not to_build,
        "runs": not to_run and problem is None,
        "machine_problem": problem,
        "source": exporter.source,
        "summary": exporter.summary,
        "precisions": exporter.precisions,
        "options": {option.name: _without_name(option) for option in describe_options(exporter)},
        "found": tuple(registry.versions((*exporter.builds_with, *exporter.runs_with))),
        "install": "; ".join(dict.fromkeys(needed.install for needed in (*to_build, *to_run))),
    }


def _without_name(option: OptionInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(option).items() if key != "name"}
