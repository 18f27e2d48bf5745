"""Bundles on disk: manifest, schema, results, and the store that exports reuse."""
