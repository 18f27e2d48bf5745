"""Bundles on disk (manifest, schema, results) and the cache of stage results."""
