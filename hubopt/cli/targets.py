"""``hubopt targets``."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from hubopt import registry
from hubopt._util.serialization import to_json
from hubopt.cli.common import Json, out, tells_errors
from hubopt.errors import UsageError


@tells_errors
def targets(json: Json = False) -> None:
    """List the exporters that are installed and what is missing to build or run each."""
    rows = [_describe(name) for name in registry.names()]
    if json:
        print(to_json({row["target"]: row for row in rows}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("target", "builds", "runs", "from", "what it is", "found", "missing"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["target"],
            "yes" if row["builds"] else "no",
            row["machine_problem"] or ("yes" if row["runs"] else "no"),
            row["source"],
            row["summary"],
            ", ".join(row["found"]) or "-",
            row["install"] or "-",
        )
    out.print(table)


def _describe(name: str) -> dict[str, Any]:
    try:
        exporter = registry.get(name)
    except UsageError as error:  # one broken exporter must not hide the others
        return {
            "target": name,
            "builds": False,
            "runs": False,
            "machine_problem": None,
            "source": "?",
            "summary": error.found,
            "found": [],
            "install": error.way_out,
        }
    to_build = registry.missing(
        each for one in registry.with_sources([name]) for each in one.builds_with
    )
    to_run = registry.missing(exporter.runs_with)
    problem = exporter.machine_problem() if not to_run else None
    return {
        "target": name,
        "builds": not to_build,
        "runs": not to_run and problem is None,
        "machine_problem": problem,
        "source": exporter.source,
        "summary": exporter.summary,
        "found": registry.versions((*exporter.builds_with, *exporter.runs_with)),
        "install": "; ".join(dict.fromkeys(each.install for each in (*to_build, *to_run))),
    }
