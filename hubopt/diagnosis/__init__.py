"""Find where an artifact diverges from the layer: search, names, reproduction."""

from hubopt.diagnosis.diagnose import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
