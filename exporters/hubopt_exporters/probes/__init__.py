"""Intermediate tensors of artifacts: what `hubopt diagnose` reads."""
