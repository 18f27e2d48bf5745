"""The contract between hubopt and an exporter, built-in or third-party.

An exporter is registered by one line of packaging metadata::

    [project.entry-points."hubopt.exporters"]
    mine = "my_package:MyExporter"

and is checked by `hubopt.testing.assert_conforms`. ``docs/write-an-exporter.md`` lists the other
parts of hubopt that an exporter may import.
"""

from hubopt.exporter.contract import Exporter, Obstacle, Probe, Requirement, Runner
from hubopt.exporter.helpers import (
    culprits,
    first_cause,
    folded,
    host_obstacles,
    not_runnable,
)
from hubopt.exporter.interface import FileInterface, FileTensor
from hubopt.exporter.options import NoOptions, option
from hubopt.exporter.program import (
    PROGRAM,
    Artifact,
    OpUse,
    Program,
    Source,
    Tensors,
    ToleranceClass,
    XlaMode,
    require_artifact,
    require_program,
)
from hubopt.exporter.target import FP32, ExportTask, Target

__all__ = [
    "FP32",
    "PROGRAM",
    "Artifact",
    "ExportTask",
    "Exporter",
    "FileInterface",
    "FileTensor",
    "NoOptions",
    "Obstacle",
    "OpUse",
    "Probe",
    "Program",
    "Requirement",
    "Runner",
    "Source",
    "Target",
    "Tensors",
    "ToleranceClass",
    "XlaMode",
    "culprits",
    "first_cause",
    "folded",
    "host_obstacles",
    "not_runnable",
    "option",
    "require_artifact",
    "require_program",
]
