"""Compare artifacts with layers, with a bundle or without one."""
