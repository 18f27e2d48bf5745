"""`provide_ops`: imports the packages that register operations which TensorFlow itself lacks.

Only importing such a package registers its operations; nothing in a model's file does.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import is_registered, read_saved_model
from hubopt._util.import_path import installed_only
from hubopt.errors import LoadError
from hubopt.scanning.saved_graphs import choose_graphs, nodes


@dataclass(frozen=True, slots=True)
class OpPackage:
    """A package that registers operations.

    Attributes:
        module: The module to import.
        distribution: The distribution to install.
        follows: Whether its version numbers follow those of the TensorFlow release it fits.
        ops: Operations that have none of its prefixes.
        prefixes: How the names of its other operations begin.
    """

    module: str
    distribution: str
    follows: bool = False
    ops: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def requirement(self) -> str:
        """Return the pip requirement that fits the installed TensorFlow."""
        import tensorflow as tf

        minor = ".".join(tf.__version__.split(".")[:2])
        return f"{self.distribution}=={minor}.*" if self.follows else self.distribution


PACKAGES = (
    # The names that `import tensorflow_text` (2.21.1) adds to TF_GetAllOpList, without those
    # that its prefix covers.
    OpPackage(
        "tensorflow_text",
        "tensorflow-text",
        follows=True,
        ops=frozenset(
            [
                "CaseFoldUTF8",
                "ConstrainedSequence",
                "FastBertNormalize",
                "FastWordpieceTokenizeWithOffsets",
                "FindSourceOffsets",
                "MaxSpanningTree",
                "NormalizeUTF8",
                "NormalizeUTF8WithOffsetsMap",
                "PhraseTokenize",
                "RegexSplitWithOffsets",
                "RougeL",
                "SentenceFragments",
                "SentenceFragmentsV2",
                "SentencepieceDetokenizeOp",
                "SentencepieceIdToStringOp",
                "SentencepieceOp",
                "SentencepieceStringToIdOp",
                "SentencepieceTokenizeOp",
                "SentencepieceTokenizeWithOffsetsOp",
                "SentencepieceVocabSizeOp",
                "SplitMergeTokenizeWithOffsets",
                "TokenizerFromLogits",
                "UnicodeScriptTokenizeWithOffsets",
                "WhitespaceTokenizeWithOffsets",
                "WordpieceTokenizeWithOffsets",
            ]
        ),
        prefixes=("TFText>",),
    ),
    OpPackage("tensorflow_addons", "tensorflow-addons", prefixes=("Addons>",)),
    OpPackage("tensorflow_io", "tensorflow-io", prefixes=("IO>",)),
    OpPackage("tensorflow_decision_forests", "tensorflow-decision-forests", prefixes=("SimpleML",)),
    OpPackage(
        "struct2tensor",
        "struct2tensor",
        prefixes=("DecodeProtoMap", "DecodeProtoSparse", "EquiJoin", "RunLengthBefore"),
    ),
    OpPackage(
        "tensorflow_recommenders_addons", "tensorflow-recommenders-addons", prefixes=("TFRA>",)
    ),
    OpPackage("tensorflow_quantum", "tensorflow-quantum", prefixes=("Tfq",)),
)


def package_of(op: str) -> OpPackage | None:
    """Return the package that registers ``op``, or None if no known package does."""
    for package in PACKAGES:
        if op in package.ops or op.startswith(package.prefixes):
            return package
    return None


def missing_ops(meta_graphs: Iterable[Any]) -> dict[OpPackage | None, tuple[str, ...]]:
    """Return the operations that this process lacks, by the package that registers them.

    Args:
        meta_graphs: ``MetaGraphDef`` messages.

    Returns:
        The sorted names; the key None has those of no known package.
    """
    missing: set[str] = set()
    for meta_graph in meta_graphs:
        functions = {function.signature.name for function in meta_graph.graph_def.library.function}
        missing |= {placed.node.op for placed in nodes(meta_graph)} - functions
    grouped: dict[OpPackage | None, tuple[str, ...]] = {}
    for op in sorted(op for op in missing if not is_registered(op)):
        package = package_of(op)
        grouped[package] = (*grouped.get(package, ()), op)
    return grouped


def provide_ops(folder: Path, tags: tuple[str, ...] = ()) -> None:
    """Import the packages whose operations the SavedModel in ``folder`` needs.

    Args:
        folder: The SavedModel.
        tags: Look at the graph with these tags only; by default at every graph.

    Raises:
        LoadError: A package is missing or fails to import, or no known package has an
            operation. The error lists all such operations.
    """
    graphs = choose_graphs(read_saved_model(folder), tags)
    needed = missing_ops(graphs)
    if not needed:
        return
    reasons = {package: _import(package) for package in needed}
    lacking = missing_ops(graphs)
    if None in needed:  # even if a package has registered them: they were not judged
        lacking[None] = needed[None]
    if not lacking:
        return
    writer = graphs[0].meta_info_def.tensorflow_version or "its own version"
    ways_out = [_way_out(package, writer) for package in lacking]
    raise LoadError(
        f"model {folder}",
        "it has operations that TensorFlow lacks here: "
        + "; ".join(f"{', '.join(ops)} ({reasons[package]})" for package, ops in lacking.items()),
        "operations of TensorFlow, or of a package that is installed",
        "; ".join(ways_out),
    )


def _import(package: OpPackage | None) -> str:
    """Import a package; return the reason to report if its operations are still missing."""
    if package is None:
        return "of no package known here"
    try:
        with installed_only():
            if importlib.util.find_spec(package.module) is None:
                return f"of {package.distribution}, not installed"
            importlib.import_module(package.module)
    except Exception as error:  # of any type: the package may be built for another TensorFlow
        text = " ".join(str(error).split())
        return f"of {package.distribution}, which does not import: {type(error).__name__}: {text}"
    return f"of {package.distribution}, whose installed version lacks them"


def _way_out(package: OpPackage | None, writer: str) -> str:
    if package is None:
        return (
            f"load the model with TensorFlow {writer}, which wrote it, and save it again without "
            "them, or call tf.load_op_library with their library first"
        )
    install = f"pip install '{package.requirement()}'"
    if package.follows:
        return install
    return f"{install} (if no version fits, save the model again without them)"
