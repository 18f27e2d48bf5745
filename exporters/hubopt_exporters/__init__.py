"""The exporters that come with hubopt, one module per target.

An exporter imports only the parts of hubopt that ``docs/write-an-exporter.md`` lists, and imports
its own packages inside functions.
"""
