"""The exporters that come with hubopt, one module a target.

An exporter imports of hubopt what ``docs/write-an-exporter.md`` lists, and its own packages inside
functions.
"""
