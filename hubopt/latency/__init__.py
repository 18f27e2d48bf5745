"""The latency of an artifact, compared with the eager layer."""

from hubopt.latency.statistics import Latency, Timing

__all__ = ["Latency", "Timing"]
