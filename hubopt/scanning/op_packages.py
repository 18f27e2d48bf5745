"""`provide_ops`: operations of a model that TensorFlow itself does not have.

Importing the package that brings them registers them; nothing in the model's file does.
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
    """A package that brings operations.

    Attributes:
        module: What to import.
        distribution: What to install.
        follows: Whether its versions are those of the TensorFlow that it fits.
        ops: Operations whose names do not tell where they come from.
        prefixes: How the names of its other operations begin.
    """

    module: str
    distribution: str
    follows: bool = False
    ops: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def requirement(self) -> str:
        """What to ask pip for beside the TensorFlow that is installed."""
        import tensorflow as tf

        minor = ".".join(tf.__version__.split(".")[:2])
        return f"{self.distribution}=={minor}.*" if self.follows else self.distribution


PACKAGES = (
    # The names in TF_GetAllOpList after `import tensorflow_text` (2.21.1) that were not
    # there before, less those that its prefix covers.
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
    """Return the package that brings ``op``, or None if it is not known here."""
    for package in PACKAGES:
        if op in package.ops or op.startswith(package.prefixes):
            return package
    return None


def missing_ops(meta_graphs: Iterable[Any]) -> dict[OpPackage | None, tuple[str, ...]]:
    """Return the operations that this process does not have, by the package that brings them.

    Args:
        meta_graphs: ``MetaGraphDef`` messages.

    Returns:
        The names, sorted; under None those of no known package.
    """
    missing: set[str] = set()
    for meta_graph in meta_graphs:
        functions = {each.signature.name for each in meta_graph.graph_def.library.function}
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
        LoadError: A package is missing or does not import, or no package is known to have an
            operation; all of these at once.
    """
    graphs = choose_graphs(read_saved_model(folder), tags)
    needed = missing_ops(graphs)
    if not needed:
        return
    reasons = {package: _import(package) for package in needed}
    lacking = missing_ops(graphs)
    if None in needed:  # a package that registers them all the same brings what was not judged
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
    """Import a package; return why its operations are missing, should they still be."""
    if package is None:
        return "of no package known here"
    try:
        with installed_only():
            if importlib.util.find_spec(package.module) is None:
                return f"of {package.distribution}, not installed"
            importlib.import_module(package.module)
    except Exception as error:  # built for another TensorFlow: whatever its native code says
        text = " ".join(str(error).split())
        return f"of {package.distribution}, which does not import: {type(error).__name__}: {text}"
    return f"of {package.distribution}, whose installed version lacks them"


def _way_out(package: OpPackage | None, writer: str) -> str:
    if package is None:
        return (
            f"load the model with TensorFlow {writer}, which wrote it, and save it again without "
            "them, or call tf.load_op_library with their library before"
        )
    install = f"pip install '{package.requirement()}'"
    if package.follows:
        return install
    return f"{install} (if no version fits, save the model again without them)"
