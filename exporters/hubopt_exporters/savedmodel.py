"""The SavedModel exporter: the layer as one function, compiled by XLA where that is faster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubopt._util.plain_paths import plain_path
from hubopt.errors import ExportError
from hubopt.exporter import (
    FP32,
    PROGRAM,
    Artifact,
    ExportTask,
    FileInterface,
    Obstacle,
    OpUse,
    Program,
    Requirement,
    Target,
    Tensors,
    XlaMode,
    culprits,
    option,
    require_program,
)
from hubopt.programs.serving import SIGNATURE, compile_saved_model, is_compiled
from hubopt.programs.xla_trial import XlaChoice, cannot_compile, try_xla

if TYPE_CHECKING:
    from hubopt_exporters.probes.savedmodel import SavedModelProbe

_TENSORFLOW = Requirement(("tensorflow",), "pip install tensorflow")


@dataclass(frozen=True, slots=True)
class SavedModelOptions:
    """The options of `SavedModelExporter`."""

    xla: XlaMode = option(
        "auto",
        "auto compiles where a trial is faster and gives the same values, require compiles or "
        "fails, off never compiles",
    )
    freeze: bool = option(False, "write the weights as constants of the graph, not as variables")


class SavedModelExporter:
    """Takes the program's SavedModel, or rebuilds it from the frozen graph."""

    name = "savedmodel"
    summary = "TensorFlow SavedModel, compiled by XLA where faster"
    suffix = ""
    source = PROGRAM
    dynamic = True
    largest_bytes = None
    reads_saved_model = True
    Options = SavedModelOptions
    precisions = (FP32,)
    builds_with = (_TENSORFLOW,)
    runs_with = (_TENSORFLOW,)

    def obstacles(self, ops: Sequence[OpUse], target: Target) -> list[Obstacle]:
        """Return what XLA must compile and cannot, and with ``freeze`` what cannot be frozen."""
        options = target.options
        obstacles = []
        if options.xla == "require":
            obstacles += [
                Obstacle(
                    use.op,
                    use.count,
                    "XLA has no kernel for it; without --xla require it stays uncompiled",
                )
                for use in culprits(use for use in ops if not use.xla)
            ]
        if options.freeze:
            obstacles += [
                Obstacle(use.op, use.count, "a table cannot be frozen; drop --freeze")
                for use in culprits(use for use in ops if use.resource)
            ]
        return obstacles

    def export(self, task: ExportTask) -> Artifact:
        """Write the folder; the runner checks that it is still compiled after reloading."""
        import tensorflow as tf

        program, path, options = require_program(task.source), task.path, task.target.options
        if options.freeze:
            from hubopt_exporters.frozen import as_module

            root, serving = as_module(program, jit_compile=program.compiled)
            tf.saved_model.save(root, str(path), signatures={SIGNATURE: serving})
        else:
            # Weights of several GB need not be written again.
            shutil.copytree(program.saved_model, path, copy_function=_link_or_copy)
        choice = _choose(options.xla, program, path)
        if choice.is_compiled and not program.compiled:
            with plain_path(path) as folder:
                compile_saved_model(folder)
        return Artifact(
            self.name,
            path,
            program.spec,
            "xla" if choice.is_compiled else "fp32",
            {
                "tensorflow": tf.__version__,
                "jit_compile": choice.is_compiled,
                "xla": str(choice),
                "weights": "constants" if options.freeze else "variables",
            },
        )

    def machine_problem(self) -> str | None:
        """Return None: any machine can run it."""
        return None

    def snippets(self) -> Mapping[str, Callable[[Artifact], str]]:
        """Return programs that run an artifact, by language, for `hubopt snippet`."""
        from hubopt_exporters.snippets.savedmodel import SNIPPETS

        return SNIPPETS

    def probe(self, artifact: Artifact) -> SavedModelProbe:
        """Open the artifact's intermediate tensors, for `hubopt diagnose`."""
        from hubopt_exporters.probes.savedmodel import SavedModelProbe

        return SavedModelProbe(artifact)

    def interface(self, path: Path) -> FileInterface:
        """Read the inputs and outputs of a file from anywhere."""
        from hubopt_exporters.interfaces import savedmodel_interface

        return savedmodel_interface(path)

    def runner(self, artifact: Artifact) -> SavedModelRunner:
        """Load the SavedModel."""
        return SavedModelRunner(artifact)


def _choose(mode: XlaMode, program: Program, path: Path) -> XlaChoice:
    """Return whether XLA compiles the SavedModel at ``path``, written as ``program`` is."""
    if program.compiled:
        return XlaChoice(True, "traced for XLA")
    if mode == "auto":
        return try_xla(program, path)
    return XlaChoice(mode == "require", f"--xla {mode}")


def _link_or_copy(source: str, destination: str) -> None:
    """Hard-link a file; copy it if its file system has no hard links."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


class SavedModelRunner:
    """Calls ``serving_default``.

    Raises:
        ExportError: It is not compiled, although the artifact says so.
    """

    def __init__(self, artifact: Artifact) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._constant = tf.constant
        self._spec = artifact.spec
        # The loaded object owns the variables: it must outlive the signature.
        with plain_path(artifact.path) as path:
            self._loaded = tf.saved_model.load(str(path))
        self._function = self._loaded.signatures[SIGNATURE]
        self._is_compiled = bool(artifact.details.get("jit_compile"))
        if self._is_compiled and not is_compiled(self._loaded):
            raise ExportError(
                "savedmodel artifact",
                "after reloading, it is not compiled",
                "jit_compile=True, as written",
                "report this: TensorFlow has changed how the attribute is stored",
            )
        self.device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Call the signature with arrays.

        Raises:
            ExportError: XLA cannot compile it, which shows at the first call.
        """
        tensors = {
            spec.argument: self._constant(inputs[spec.name], dtype=spec.dtype)
            for spec in self._spec.inputs
        }
        try:
            outputs = self._function(**tensors)
        except Exception as error:  # TensorFlow may raise anything
            if not self._is_compiled:
                raise
            raise ExportError(
                "savedmodel artifact",
                cannot_compile(error),
                "a function that XLA compiles",
                "leave out --xla require to write it uncompiled",
            ) from error
        return {name: tensor.numpy() for name, tensor in outputs.items()}
