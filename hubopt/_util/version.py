"""The version of hubopt."""

__version__ = "0.1.0"
