"""`make_snippet`: a short program that runs one artifact of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from hubopt import registry
from hubopt.bundles.bundle import Bundle
from hubopt.errors import UsageError
from hubopt.exporter import Artifact

Language = Literal["python", "cpp", "kotlin", "swift", "js"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


def make_snippet(bundle: Bundle, target: str, language: Language) -> str:
    """Return a program that loads an artifact, fills its inputs and reads its outputs.

    Args:
        bundle: The bundle.
        target: The target.
        language: The language of the program.

    Raises:
        BundleError: The bundle has no such artifact, or it has changed.
        UsageError: The target's exporter has no snippet in this language.
    """
    artifact = bundle.artifact(target)
    exporter = registry.get(artifact.exporter)
    snippets: Mapping[str, Callable[[Artifact], str]] = getattr(exporter, "snippets", dict)()
    if language not in snippets:
        there = ", ".join(name for name in LANGUAGES if name in snippets)
        raise UsageError(
            f"snippet of {target}",
            f"{artifact.exporter} has none in {language}",
            f"one of: {there or 'none'}",
            f"pass --lang with one of: {there}" if there else "see the runtime's own manual",
        )
    text = snippets[language](artifact)
    return text.rstrip("\n")
