"""Whether an exporter and what it gives keep to `hubopt.exporter`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from hubopt.exporter import Artifact, Exporter, ToleranceClass
from hubopt.spec import ModelSpec


def exporter_problems(exporter: object, name: str) -> list[str]:
    """Return in what ``exporter``, registered as ``name``, does not conform."""
    if not isinstance(exporter, Exporter):
        lacking = [
            each
            for each in dir(Exporter)
            if not each.startswith("_") and not hasattr(exporter, each)
        ]
        return [f"{type(exporter).__name__} lacks {', '.join(lacking) or 'what an exporter has'}"]
    problems = []
    if exporter.name != name or not name.isidentifier():
        problems.append(f"name is {exporter.name!r}, registered is {name!r}; both one plain word")
    if exporter.suffix != "" and not exporter.suffix.startswith("."):
        problems.append(f"suffix {exporter.suffix!r} must be empty or start with a dot")
    if not exporter.summary:
        problems.append("summary must be one line for `hubopt targets`")
    return problems


def artifact_problems(artifact: object, name: str, path: Path, spec: ModelSpec) -> list[str]:
    """Return in what ``artifact``, asked for at ``path``, does not conform."""
    if not isinstance(artifact, Artifact):
        return [f"export returned {type(artifact).__name__}, not an Artifact"]
    problems = []
    if artifact.path != path:
        problems.append(f"the artifact says it is at {artifact.path}, asked for was {path}")
    if not path.exists():
        problems.append(f"nothing was written at the path asked for, {path.name}")
    if artifact.target != name:
        problems.append(f"the artifact names target {artifact.target!r}, not {name!r}")
    if artifact.spec != spec:
        problems.append("the artifact's spec differs from its source's")
    if artifact.tolerance not in get_args(ToleranceClass):
        problems.append(f"no tolerance class {artifact.tolerance!r}")
    odd = [key for key, value in artifact.details.items() if type(value) not in _PLAIN]
    if odd:
        problems.append(f"details must be plain strings, numbers and booleans: {', '.join(odd)}")
    return problems


_PLAIN = (str, int, float, bool)
