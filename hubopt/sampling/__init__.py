"""Samples: what the layer and the artifacts are asked."""
