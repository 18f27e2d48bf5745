"""`ExportRequest`: what an export was asked for, checked before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hubopt import registry
from hubopt._platform.staging import check_name
from hubopt._util.regular_files import real_path
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
    """The arguments of `hubopt.export`, but for where the bundle goes.

    Attributes:
        model: A handle, a layer or a callable.
        targets: The targets, sources first.
        plan: Which samples the layer and the artifacts are asked.
        hints: Shapes and dtypes that the model leaves open.
        layer: Signature, output and tags, for a handle.
        load_policy: What is allowed, for a handle.
        overrides: Tolerances other than a target's own.
        rounds: How many rounds latency is measured for.
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
        """Check what can be known to be wrong without the model.

        Args:
            output: Where the bundle goes.

        Raises:
            UsageError: A count or the output is invalid, or a target holds no dynamic dimension.
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

    @property
    def exporters(self) -> tuple[Exporter, ...]:
        """The targets' exporters, in the order of the targets."""
        return tuple(registry.get(target.exporter) for target in self.targets)

    @property
    def reads_saved_model(self) -> bool:
        """Whether any target starts from the program's SavedModel."""
        return any(each.reads_saved_model for each in self.exporters)

    @property
    def level(self) -> Noise:
        """How much of the layer's noise is measured."""
        # A verdict that is made elsewhere takes all that can be known of the layer.
        elsewhere = any(
            registry.missing(each.runs_with) or each.machine_problem() for each in self.exporters
        )
        noise = self.plan.noise
        return "full" if noise == "auto" and elsewhere else noise

    @property
    def most_bytes(self) -> int | None:
        """How many bytes of weights any of the targets holds; None for any number."""
        limits = [each.largest_bytes for each in self.exporters]
        return None if None in limits else max(each for each in limits if each is not None)

    def _check_apart(self, output: Path) -> None:
        """Check that the output is not in the model's folder: it would change its digest."""
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
        """Refuse dynamic dimensions for targets that hold none."""
        static = [each.name for each in self.exporters if not each.dynamic]
        if static and self.hints.bounds:
            names = ", ".join(name for name, _ in self.hints.bounds)
            raise UsageError(
                f"target {', '.join(static)}",
                f"holds static shapes only, and {names} of --dim would be dynamic",
                "targets that hold dynamic dimensions (`hubopt targets`), or sizes",
                "leave the target out, or export it on its own with sizes in --input-shape",
            )
