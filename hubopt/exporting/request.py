"""`ExportRequest`: the arguments of an export, checked before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hubopt import registry
from hubopt._platform.staging import check_name
from hubopt._util.regular_files import real_path
from hubopt.bundles.manifest import MANIFEST
from hubopt.errors import UsageError
from hubopt.exporter import Exporter, Target
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy, local_path
from hubopt.parity import ToleranceOverrides
from hubopt.reference.layer_process import Model
from hubopt.reference.noise_level import Noise
from hubopt.reference.sample_plan import SamplePlan


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The arguments of `hubopt.export`, except for the path of the bundle.

    Attributes:
        model: A handle, a layer or a callable.
        targets: The targets, sources first.
        plan: The samples that the layer and the artifacts are run on.
        hints: Shapes and dtypes that the model leaves open.
        layer: The signature, output and tags of a handle.
        load_policy: What loading a handle may do.
        overrides: Tolerances that replace those of a target's class.
        rounds: The number of rounds of latency measurement.
        keep_failed: Whether to keep artifacts that do not agree with the layer.
    """

    model: Model
    targets: tuple[Target, ...]
    plan: SamplePlan
    hints: Hints
    layer: LayerOptions
    load_policy: LoadPolicy
    overrides: ToleranceOverrides
    rounds: int
    keep_failed: bool

    def check(self, output: Path) -> None:
        """Check the arguments that can be checked without the model.

        Args:
            output: The path of the bundle.

        Raises:
            UsageError: A count or the output is invalid, or a target cannot hold open dimensions.
            RuntimeMissingError: A target's package is not installed.
        """
        if not self.targets:
            raise UsageError("targets", "none", "one or more", "see `hubopt export --help`")
        if self.rounds < 0:
            raise UsageError(
                "rounds",
                str(self.rounds),
                "0 for no timing, or more",
                "see `hubopt export --help`",
            )
        self._check_apart(output)
        registry.require(self.exporters)
        self._check_dynamic()

    def may_replace(self, output: Path) -> bool:
        """Whether ``output`` is a bundle or an empty folder, and the model is not inside."""
        if not output.is_dir() or not ((output / MANIFEST).is_file() or not any(output.iterdir())):
            return False
        if not isinstance(self.model, str | os.PathLike):
            return True
        model = real_path(local_path(os.fspath(self.model)))
        return not model.is_relative_to(real_path(output))

    @property
    def exporters(self) -> tuple[Exporter, ...]:
        """The targets' exporters, in the order of the targets."""
        return tuple(registry.get(target.exporter) for target in self.targets)

    @property
    def reads_saved_model(self) -> bool:
        """Whether any target starts from the program's SavedModel."""
        return any(exporter.reads_saved_model for exporter in self.exporters)

    @property
    def level(self) -> Noise:
        """How much of the layer's noise is measured."""
        # A verdict on another machine needs everything that can be known of the layer.
        elsewhere = any(
            registry.missing(exporter.runs_with) or exporter.machine_problem()
            for exporter in self.exporters
        )
        noise = self.plan.noise
        return "full" if noise == "auto" and elsewhere else noise

    @property
    def most_bytes(self) -> int | None:
        """The largest size of weights, in bytes, that any target can hold; None for no limit."""
        limits = [exporter.largest_bytes for exporter in self.exporters]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    def _check_apart(self, output: Path) -> None:
        """Check that the output is outside the model's folder, whose digest it would change."""
        check_name(output)
        if not isinstance(self.model, str | os.PathLike):
            return
        folder = real_path(local_path(os.fspath(self.model)))
        is_inside = real_path(output).is_relative_to(folder)
        if is_inside and folder.is_dir() and os.fspath(self.model):
            raise UsageError(
                f"output {output}",
                "it is inside the model's folder",
                "a path outside of it",
                "choose another --output",
            )

    def _check_dynamic(self) -> None:
        """Refuse dynamic dimensions for targets that cannot hold them."""
        static = [exporter.name for exporter in self.exporters if not exporter.dynamic]
        if static and self.hints.bounds:
            names = ", ".join(name for name, _ in self.hints.bounds)
            raise UsageError(
                f"target {', '.join(static)}",
                f"holds static shapes only, and {names} of --dim would be dynamic",
                "targets that hold dynamic dimensions (`hubopt targets`), or sizes",
                "leave the target out, or export it on its own with sizes in --input-shape",
            )
