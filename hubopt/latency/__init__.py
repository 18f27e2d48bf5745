"""How long an artifact takes, against the eager layer."""

from hubopt.latency.statistics import Latency, Timing

__all__ = ["Latency", "Timing"]
