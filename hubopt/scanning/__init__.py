"""Finds out, before a model is loaded, what it could do besides computing."""
