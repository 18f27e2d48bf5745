"""Artifacts against layers, with a bundle or without one."""
