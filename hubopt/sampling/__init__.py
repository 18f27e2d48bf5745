"""Samples: the inputs on which the layer and the artifacts are run."""
